"""What stands in for services that do not answer, for staff: statistics, and forgetting."""

from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from interventions.api.base import Key, StaffView, actor
from interventions.api.serializers import ReadOnly, Strict
from sync import second_bests


class OverviewSerializer(ReadOnly):
    """Kept answers and errands by kind, services by what became of their calls."""

    answers = serializers.ListField(child=serializers.DictField())
    errands = serializers.ListField(child=serializers.DictField())
    services = serializers.ListField(child=serializers.DictField())


class ForgetWish(Strict):
    """Which kept answers to forget; without either all of them."""

    kind = serializers.CharField(required=False, max_length=100)
    person_id = serializers.IntegerField(required=False, min_value=1, max_value=2**63 - 1)


class ForgottenSerializer(ReadOnly):
    """How many answers were forgotten."""

    forgotten = serializers.IntegerField()


class SecondBestsView(StaffView):
    """Answers that are kept, errands that wait, services that rest."""

    # Forgetting twice is forgetting once.
    key: ClassVar[Key] = Key.IGNORED
    needed: ClassVar[dict[str, str]] = {"GET": "sync.view_errand", "POST": "sync.delete_keptanswer"}

    @extend_schema(operation_id="second_bests_retrieve", responses=OverviewSerializer)
    def get(self, request: Request) -> Response:
        """Count the kept answers and the errands, and tell how services answered in the last day."""
        return Response(second_bests.overview(at=timezone.now()))

    @extend_schema(operation_id="second_bests_forget", request=ForgetWish, responses=ForgottenSerializer)
    def post(self, request: Request) -> Response:
        """Forget kept answers, of a kind or of a person; whoever asks is given a new one."""
        asked = ForgetWish(data=request.data)
        asked.is_valid(raise_exception=True)
        words: dict[str, Any] = asked.validated_data
        number = second_bests.forget_answers(
            kind=words.get("kind", ""), person_id=words.get("person_id"), by=actor(request)
        )
        return Response({"forgotten": number})
