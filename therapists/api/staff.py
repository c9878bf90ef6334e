"""Enrollments for staff: look, and decide."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.http import Http404
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from interventions.api.base import Key, StaffView, actor
from interventions.api.pagination import NewestFirst
from interventions.api.problems import Problem
from interventions.api.serializers import envelope_of
from interventions.api.views import PAGING
from therapists import approval, queries
from therapists.accounts import factors
from therapists.api.answers import saved
from therapists.api.authentication import session_of
from therapists.api.serializers import DecidedSerializer, DecisionSerializer, EnrollmentFilter, EnrollmentSerializer
from therapists.models import Enrollment


class EnrollmentsView(StaffView):
    """Enrollments, newest first."""

    needed: ClassVar[dict[str, str]] = {"GET": "therapists.view_enrollment"}
    pagination_class = NewestFirst

    @extend_schema(
        operation_id="enrollments_list",
        parameters=[EnrollmentFilter, *PAGING],
        responses=EnrollmentSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """List enrollments, narrowed by status."""
        given = {"status": request.query_params["status"]} if "status" in request.query_params else {}
        asked = EnrollmentFilter(data=given)
        asked.is_valid(raise_exception=True)
        pages = self.pagination_class()
        page = pages.paginate_queryset(queries.enrollments(**asked.validated_data), request, view=self)
        return pages.get_paginated_response(EnrollmentSerializer(page, many=True).data)


class DecisionView(StaffView):
    """A decision about one enrollment."""

    key: ClassVar[Key] = Key.REQUIRED
    needed: ClassVar[dict[str, str]] = {"POST": "therapists.decide_enrollment"}

    @extend_schema(
        operation_id="enrollments_decide", request=DecisionSerializer,
        responses={200: envelope_of("Decided", DecidedSerializer)},
    )  # fmt: skip
    def post(self, request: Request, pk: int) -> Response:
        """
        Approve, reject or suspend.

        A rejection or suspension cancels what is booked ahead and gives back what was paid. Whoever has a second factor, or must have one, has shown it within ten minutes. Strict: with a 2xx the decision holds, since readers of authority read the enrollment itself.
        """
        if not factors.is_fresh(request.user, session_of(request)):
            raise Problem(
                403, "second_factor_required", "Show your second factor once more: it was shown too long ago."
            )
        asked = DecisionSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            decided = approval.decide(
                enrollment_id=pk, decision=approval.Decision(asked.validated_data["decision"]),
                reason=asked.validated_data["reason"], by=actor(request), at=timezone.now(),
            )  # fmt: skip
        except Enrollment.DoesNotExist as error:
            raise Http404 from error
        return _told(decided.enrollment, decided.cancelled)

    def recalled(self, request: Request, outcome: Mapping[str, Any], **kwargs: Any) -> Response:
        """Answer with the enrollment as it is now."""
        return _told(get_object_or_404(Enrollment, pk=kwargs["pk"]), outcome.get("cancelled", []))


def _told(enrollment: Enrollment, cancelled: list[int]) -> Response:
    return saved(enrollment, data=EnrollmentSerializer(enrollment).data | {"cancelled_bookings": cancelled})
