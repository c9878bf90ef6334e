"""Causes over HTTP: what is open, who sees to it, what was put off, and retrying all of one."""

from collections.abc import Mapping
from typing import Any, ClassVar, cast
from uuid import UUID

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from interventions import attention, causes
from interventions.api.attention import (
    Decision,
    IgnoredSerializer,
    InsteadSerializer,
    NotedSerializer,
    UntilSerializer,
    decision_view,
)
from interventions.api.base import StaffView
from interventions.api.problems import Problem
from interventions.api.runs import STARTED, StartsRun, started
from interventions.api.serializers import NoBody, ReadOnly
from interventions.api.views import RETRY
from interventions.causes import Standing
from interventions.models import Cause, CauseState

MOST_CAUSES = 100
LOOK = "interventions.view_cause"
ACKNOWLEDGE, SNOOZE, IGNORE, NOTE = (
    f"interventions.{name}_cause" for name in ("acknowledge", "snooze", "ignore", "note")
)
OF_ROW = (
    "id", "state", "first_at", "reopened_at", "resolved_at", "owner", "acknowledged_at", "snoozed_until", "ignored_until",
    "ignored_reason", "note",
)  # fmt: skip
OF_STANDING = ("code", "target", "is_retrying", "items", "people", "oldest_at", "newest_at")


class CauseSerializer(ReadOnly):
    """What live items of the same reason share, and what staff decided about it."""

    id = serializers.UUIDField(help_text="Stays the same while it is open, and when it comes back within a week.")
    cause = serializers.CharField(help_text="The fingerprint that its items bear.")
    code = serializers.CharField()
    target = serializers.CharField()
    state = serializers.ChoiceField(choices=CauseState.choices)
    is_retrying = serializers.BooleanField(help_text="A bulk retry of it is under way.")
    items = serializers.IntegerField(help_text=f"Live items, counted up to {causes.MOST_COUNTED}.")
    people = serializers.IntegerField(help_text="Whom they name.")
    first_at = serializers.DateTimeField()
    oldest_at = serializers.DateTimeField(help_text="Since when the oldest live item has been open.")
    newest_at = serializers.DateTimeField(allow_null=True, help_text="Since when the newest has been.")
    reopened_at = serializers.DateTimeField(allow_null=True)
    resolved_at = serializers.DateTimeField(allow_null=True)
    owner = serializers.CharField(allow_null=True, help_text="`user:ID`; kept when it is resolved and comes back.")
    acknowledged_at = serializers.DateTimeField(allow_null=True)
    snoozed_until = serializers.DateTimeField(allow_null=True)
    ignored_until = serializers.DateTimeField(allow_null=True)
    ignored_reason = serializers.CharField(allow_null=True)
    note = serializers.CharField()


class CausesView(StaffView):
    """What is open, by cause."""

    needed: ClassVar[dict[str, str]] = {"GET": LOOK}

    @extend_schema(operation_id="causes_list", responses=CauseSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List the causes with the most live items first, at most a hundred; a new one is here within seconds."""
        standing = causes.standing(at=timezone.now(), limit=MOST_CAUSES)
        return Response([_shown(one, one.row) for one in standing if one.row is not None])


class CauseView(StaffView):
    """One cause."""

    needed: ClassVar[dict[str, str]] = {"GET": LOOK}

    @extend_schema(operation_id="causes_retrieve", responses=CauseSerializer)
    def get(self, request: Request, pk: UUID) -> Response:
        """Show a cause, also one that is resolved."""
        return Response(_answer(get_object_or_404(Cause, pk=pk)))


class CauseRetryView(StartsRun):
    """Retry everything of one cause."""

    needed: ClassVar[dict[str, str]] = {"POST": RETRY}

    @extend_schema(operation_id="causes_retry", request=NoBody, responses=STARTED)
    def post(self, request: Request, pk: UUID) -> Response:
        """Start a bulk retry of the cause's items: five first, then the rest at a bounded rate."""
        NoBody(data=request.data).is_valid(raise_exception=True)
        cause = causes.live().filter(pk=pk).first()
        if cause is None:
            raise Problem(404, "not_found", "There is no such cause, or nothing of it is open any more.")
        return started(request, {"cause": cause.fingerprint}, cause.fingerprint, cause=cause.fingerprint)


class CauseDecisionView(Decision, StaffView):
    """What staff decide about a cause."""

    def post(self, request: Request, pk: UUID) -> Response:
        """Decide, and show how the cause stands now."""
        get_object_or_404(Cause, pk=pk)
        return Response(_answer(cast("Cause", self.decided(request, pk))))

    def recalled(self, request: Request, outcome: Mapping[str, Any], **kwargs: Any) -> Response:
        """Show the cause as it stands now."""
        return Response(_answer(get_object_or_404(Cause, pk=kwargs["pk"])))


# By the last word of their address.
CAUSE_DECISIONS = {
    name.replace("_", "-"): decision_view(
        CauseDecisionView, f"causes_{name}", permission, body, told, decide, answers=CauseSerializer
    )
    for name, permission, body, told, decide in (
        ("acknowledge", ACKNOWLEDGE, InsteadSerializer, "See to the cause from now on; to take it over, name who does.",
         lambda pk, by, at, words: attention.acknowledge(cause_id=pk, by=by, at=at, **words)),
        ("hand_back", ACKNOWLEDGE, NoBody, "See to the cause no longer.",
         lambda pk, by, at, words: attention.hand_back(cause_id=pk, by=by)),
        ("snooze", SNOOZE, UntilSerializer, "Take the cause and its items out of the inbox until then.",
         lambda pk, by, at, words: attention.snooze(cause_id=pk, by=by, at=at, **words)),
        ("unsnooze", SNOOZE, NoBody, "Bring back what was put off.",
         lambda pk, by, at, words: attention.unsnooze(cause_id=pk, by=by, at=at)),
        ("ignore", IGNORE, IgnoredSerializer, "Out of the inbox and the alerts for a while; what is counted stays counted.",
         lambda pk, by, at, words: attention.ignore(cause_id=pk, by=by, at=at, **words)),
        ("unignore", IGNORE, NoBody, "Heed the cause again.",
         lambda pk, by, at, words: attention.unignore(cause_id=pk, by=by, at=at)),
        ("note", NOTE, NotedSerializer, "Write the note of the cause in place of the one that is named.",
         lambda pk, by, at, words: attention.note(cause_id=pk, text=words["note"], was=words["was"], by=by)),
    )
}  # fmt: skip


def _answer(cause: Cause) -> dict[str, Any]:
    return _shown(causes.standing_of(cause, at=timezone.now()), cause)


def _shown(one: Standing, row: Cause) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in OF_ROW} | {name: getattr(one, name) for name in OF_STANDING}
    return dict(CauseSerializer(values | {"cause": one.fingerprint}).data)
