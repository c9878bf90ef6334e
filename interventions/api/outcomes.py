"""What came of a keyed request, for whoever never heard the answer."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from interventions import idempotency
from interventions.api import keys
from interventions.api.base import ApiView, Key
from interventions.api.problems import Problem
from interventions.api.serializers import ReadOnly


class OutcomeSerializer(ReadOnly):
    """A keyed request of the caller's that had its effect. Sent again with the same key, it gets its answer again."""

    key = serializers.CharField()
    state = serializers.ChoiceField(choices=[("saved", "saved")], help_text="It is committed.")
    method = serializers.CharField()
    route = serializers.CharField()
    at = serializers.DateTimeField()
    revision = serializers.IntegerField(allow_null=True, help_text="The number of the write, where it has one.")
    status = serializers.IntegerField(allow_null=True, help_text="What was answered; null: no answer was made yet.")
    outcome = serializers.DictField(help_text="Ids of what it made.")


class OutcomeView(ApiView):
    """The outcome of the caller's request with this key."""

    key: ClassVar[Key] = Key.IGNORED

    @extend_schema(operation_id="operations_retrieve", responses=OutcomeSerializer)
    def get(self, request: Request, key: str) -> Response:
        """
        Tell what came of a request after its answer was lost: 404 says that it had no effect, and that none is under way.

        Then it may be sent again, with the same key. Waits for a request that is under way; 409 where it takes longer.
        """
        try:
            found = idempotency.outcome_of(person_id=int(request.user.pk or 0), key=key)
        except idempotency.InFlight as error:
            raise keys.in_flight() from error
        if found is None:
            raise Problem(404, "not_found", "No request of yours with this key had any effect.")
        shown: dict[str, Any] = {
            name: getattr(found, name) for name in ("key", "method", "route", "at", "revision", "status", "outcome")
        }
        return Response(OutcomeSerializer(shown | {"state": "saved"}).data)
