"""Bulk retries over HTTP."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar
from uuid import UUID

from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from interventions import retry_runs
from interventions.api.base import StaffView, actor
from interventions.api.problems import Problem
from interventions.api.serializers import NoBody, ReadOnly, Strict
from interventions.api.views import RETRY
from interventions.models import Intervention, RetryOutcome, RetryRun, RetryState

MOST_NAMED = 1000


class RunSerializer(ReadOnly):
    """A bulk retry and what came of it so far; the counts add up to `total`."""

    id = serializers.UUIDField()
    title = serializers.CharField()
    state = serializers.ChoiceField(choices=RetryState.choices)
    asked_by = serializers.CharField()
    asked_at = serializers.DateTimeField(help_text="What failed later is not part of it.")
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    total = serializers.IntegerField()
    counts = serializers.DictField(child=serializers.IntegerField(), help_text=", ".join(RetryOutcome.values))


class AskedSerializer(Strict):
    """Which items to retry: those named, or those that match."""

    documented: ClassVar[dict[str, Any]] = {"minProperties": 1}

    ids = serializers.ListField(child=serializers.UUIDField(), required=False, min_length=1, max_length=MOST_NAMED)
    cause = serializers.CharField(required=False, max_length=500)
    target = serializers.CharField(required=False, max_length=200)
    code = serializers.CharField(required=False, max_length=50)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse what names nothing: everything at once is never meant by leaving it out."""
        if not attrs:
            raise serializers.ValidationError("Name ids, a cause, a target or a code.", code="required")
        return attrs


STARTED = {202: OpenApiResponse(RunSerializer, "Started; `Location` tells how it goes on.")}


class StartsRun(StaffView):
    """What starts a bulk retry."""

    def recalled(self, request: Request, outcome: Mapping[str, Any], **kwargs: Any) -> Response:
        """Show the run that was planned; whoever died before it was started has it started now."""
        run = get_object_or_404(RetryRun, pk=outcome["run"])
        with suppress(retry_runs.WrongState):  # it was started, and may be over
            run = retry_runs.switch(run_id=run.pk, action="start", by=actor(request), at=timezone.now())
        return _location(run)


class RunsView(StartsRun):
    """Bulk retries of a filter or a selection."""

    needed: ClassVar[dict[str, str]] = {"POST": RETRY}

    @extend_schema(operation_id="runs_create", request=AskedSerializer, responses=STARTED)
    def post(self, request: Request) -> Response:
        """Start a bulk retry of the items that are named, or that match everything that is given."""
        words = AskedSerializer(data=request.data)
        words.is_valid(raise_exception=True)
        asked = dict(words.validated_data)
        ids = asked.pop("ids", None)
        title = ", ".join(asked.values()) or f"{len(ids or ())} selected"
        return started(request, asked | ({"pk__in": ids} if ids else {}), title, cause=str(asked.get("cause", "")))


class RunView(StaffView):
    """One bulk retry."""

    needed: ClassVar[dict[str, str]] = {"GET": "interventions.view_retryrun"}

    @extend_schema(operation_id="runs_retrieve", responses=RunSerializer)
    def get(self, request: Request, pk: UUID) -> Response:
        """Tell how far it is."""
        return Response(_shown(get_object_or_404(RetryRun, pk=pk)))


class RunSwitchView(StaffView):
    """Pause, resume or cancel."""

    needed: ClassVar[dict[str, str]] = {"POST": RETRY}
    action = ""

    @extend_schema(request=NoBody, responses=RunSerializer)
    def post(self, request: Request, pk: UUID) -> Response:
        """Do what the address says; retries that were asked for already are answered all the same."""
        NoBody(data=request.data).is_valid(raise_exception=True)
        get_object_or_404(RetryRun, pk=pk)
        try:
            run = retry_runs.switch(run_id=pk, action=self.action, by=actor(request), at=timezone.now())
        except retry_runs.WrongState:
            state = RetryState(RetryRun.objects.get(pk=pk).state).label
            raise Problem(409, "wrong_state", f"That cannot be done with a run that is: {state.lower()}.") from None
        return Response(_shown(run))

    def recalled(self, request: Request, outcome: Mapping[str, Any], **kwargs: Any) -> Response:
        """Show the run as it is now."""
        return Response(_shown(get_object_or_404(RetryRun, pk=kwargs["pk"])))


def started(request: Request, narrowed: dict[str, Any], title: str, *, cause: str = "") -> Response:
    """Plan a bulk retry of the items and start it; raises Problem where nothing of them needs a person."""
    by, at = actor(request), timezone.now()
    try:
        run = retry_runs.plan(items=Intervention.objects.filter(**narrowed), title=title, cause=cause, by=by, at=at)
    except retry_runs.NothingToRetry:
        raise Problem(
            409, "nothing_to_retry", "Nothing of that needs a person, so there is nothing to retry."
        ) from None
    return _location(retry_runs.switch(run_id=run.pk, action="start", by=by, at=at))


def _location(run: RetryRun) -> Response:
    return Response(_shown(run), 202, headers={"Location": reverse("retry-run", args=[run.pk])})


def _shown(run: RetryRun) -> dict[str, Any]:
    counts = retry_runs.report(run)
    values = {
        name: getattr(run, name)
        for name in ("id", "title", "state", "asked_by", "asked_at", "started_at", "finished_at")
    }
    return dict(RunSerializer(values | {"total": sum(counts.values()), "counts": counts}).data)
