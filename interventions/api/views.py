"""The desk over HTTP: look, retry, resolve."""

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from interventions import operations
from interventions.api.base import StaffView, actor
from interventions.api.envelope import ReadStanding, Standing, answered
from interventions.api.pagination import NewestMomentFirst
from interventions.api.problems import Problem
from interventions.api.rows import (
    FilterSerializer,
    ItemDetailSerializer,
    ItemSerializer,
    NoteSerializer,
    around,
    detail_of,
)
from interventions.api.serializers import NoBody, envelope_of
from interventions.handlers import names
from interventions.models import Intervention, State
from interventions.operations import Report

LOOK, RETRY, RESOLVE = (
    "interventions.view_intervention", "interventions.retry_intervention", "interventions.resolve_intervention",
)  # fmt: skip
ACCEPT = "interventions.accept_difference"
SAVED_ITEM = {200: envelope_of("Item", ItemDetailSerializer)}
PAGING = [
    OpenApiParameter("cursor", str, description="Where the page begins; taken from `next` or `previous`."),
    OpenApiParameter("page_size", {"type": "integer", "minimum": 1}, description="Rows a page; more than 100 are 100."),
]


class ItemsView(StaffView):
    """Items, newest first."""

    needed: ClassVar[dict[str, str]] = {"GET": LOOK}
    pagination_class = NewestMomentFirst

    @extend_schema(
        operation_id="interventions_list", parameters=[FilterSerializer, *PAGING], responses=ItemSerializer(many=True)
    )
    def get(self, request: Request) -> Response:
        """List the items, narrowed by state, target and cause."""
        names = ("state", "target", "cause")
        asked = FilterSerializer(
            data={name: request.query_params[name] for name in names if name in request.query_params}
        )
        asked.is_valid(raise_exception=True)
        pages = self.pagination_class()
        page = pages.paginate_queryset(Intervention.objects.filter(**asked.validated_data), request, view=self) or []
        return pages.get_paginated_response(ItemSerializer(page, many=True, context=around(page)).data)


class ItemView(StaffView):
    """One item."""

    needed: ClassVar[dict[str, str]] = {"GET": LOOK}

    @extend_schema(operation_id="interventions_retrieve", responses=ItemDetailSerializer)
    def get(self, request: Request, pk: UUID) -> Response:
        """Show an item with its history and whether both sides are equal now."""
        return Response(detail_of(get_object_or_404(Intervention, pk=pk)))


class WriteView(StaffView):
    """What both writes share; `read_standing` is given by whoever knows how the copies stand."""

    read_standing: ReadStanding = staticmethod(lambda person_id: Standing(is_known=False))

    def answer(self, item: Intervention, what: str) -> Response:
        """Answer with the item and its person's copies as they are after the commit."""
        item.refresh_from_db()
        return answered(self.read_standing(item.person_id), what=what, data=detail_of(item))

    def recalled(self, request: Request, outcome: Mapping[str, Any], **kwargs: Any) -> Response:
        """Answer with the item as it is now."""
        return self.answer(get_object_or_404(Intervention, pk=kwargs["pk"]), "Done.")


class RetryView(WriteView):
    """Try again now."""

    needed: ClassVar[dict[str, str]] = {"POST": RETRY}

    @extend_schema(operation_id="interventions_retry", request=NoBody, responses=SAVED_ITEM)
    def post(self, request: Request, pk: UUID) -> Response:
        """Make the item's target due now; a worker takes it up."""
        NoBody(data=request.data).is_valid(raise_exception=True)
        item = get_object_or_404(Intervention, pk=pk)
        report = operations.retry_items(items=_just(item), by=actor(request), at=timezone.now())
        _refuse_what_was_not_done(item, report)
        return self.answer(item, "It is being tried again.")


class ResolveView(WriteView):
    """Call it resolved."""

    needed: ClassVar[dict[str, str]] = {"POST": RESOLVE}

    @extend_schema(
        operation_id="interventions_resolve", request=NoteSerializer,
        responses=SAVED_ITEM,
    )  # fmt: skip
    def post(self, request: Request, pk: UUID) -> Response:
        """
        Resolve the item when both sides are equal.

        A difference is accepted only with a note, from somebody who may accept one.
        """
        words = NoteSerializer(data=request.data)
        words.is_valid(raise_exception=True)
        item = get_object_or_404(Intervention, pk=pk)
        report = operations.mark_resolved(
            items=_just(item), by=actor(request), note=words.validated_data["note"],
            may_accept=request.user.has_perm(ACCEPT), at=timezone.now(),
            seen={str(item.pk): words.validated_data["seen"]} if "seen" in words.validated_data else None,
        )  # fmt: skip
        _refuse_what_was_not_done(item, report)
        return self.answer(
            item, "Resolved: the difference was accepted." if report.accepted else "Resolved: both sides are equal."
        )


def _just(item: Intervention) -> "QuerySet[Intervention]":
    return Intervention.objects.filter(pk=item.pk)


def _refuse_what_was_not_done(item: Intervention, report: Report) -> None:
    """Raise Problem (409) that says who was first, or why it was refused."""
    for first in report.before:
        if first.state == State.RETRYING:
            raise Problem(409, "already_retrying", f"{name_of(first.retry_by)} asked for a retry; it is under way.")
        when = f" at {first.resolved_at:%Y-%m-%d %H:%M:%S} UTC" if first.resolved_at else ""
        note = f": {first.resolution_notes}" if first.resolution_notes else "."
        raise Problem(
            409, "already_resolved", f"{name_of(first.resolved_by)} resolved this{when} ({first.resolution}){note}"
        )
    if report.refused:
        raise Problem(409, "not_possible", report.problems.get(str(item.pk), "It cannot be done now."))
    if not (report.done or report.accepted):
        raise Problem(404, "not_found", "There is nothing here, or it is not yours to see.")


def name_of(by: str | None) -> str:
    """Give the name behind an actor."""
    actor = by or "Somebody"
    return names([actor]).get(actor) or {"system": "The system"}.get(actor, actor)
