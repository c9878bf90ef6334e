"""Credits over HTTP: everybody sees their own; leads grant them."""

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from interventions.api.base import ApiView, Key, MayStaff, actor
from interventions.api.envelope import exact
from interventions.api.pagination import NewestFirst
from interventions.api.problems import Problem
from interventions.api.serializers import ReadOnly, Strict, envelope_of
from interventions.api.views import PAGING
from therapists import credits
from therapists.models import CreditEntry, EntryKind, User

LARGEST_ID = 2**63 - 1


class EntryLine(serializers.ModelSerializer[CreditEntry]):
    """A line: what came or went, why, and the balance after it."""

    kind = serializers.ChoiceField(choices=EntryKind.choices, read_only=True)

    class Meta:
        model = CreditEntry
        fields = ("number", "amount", "balance", "kind", "booking_id", "at")
        read_only_fields = fields


class Statement(NewestFirst):
    """A page of lines, newest first, under the balance."""

    ordering = "-number"
    balance = 0

    def get_paginated_response(self, data: Any) -> Response:
        """Give the page with the balance as it is now."""
        response = super().get_paginated_response(data)
        response.data = {"balance": self.balance, **response.data}
        return response

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Document the balance."""
        found = super().get_paginated_response_schema(schema)
        found["properties"] = {"balance": {"type": "integer", "minimum": 0}, **found["properties"]}
        found["required"] = ["balance", *found.get("required", [])]
        return found


@extend_schema_field(
    {"type": "integer", "minimum": -credits.MOST_AT_ONCE, "maximum": credits.MOST_AT_ONCE, "not": {"enum": [0]}}
)
class Amount(serializers.IntegerField):
    """So many credits."""


class Grant(Strict):
    """To whom, and how many."""

    person_id = serializers.IntegerField(min_value=1, max_value=LARGEST_ID)
    amount = Amount(
        min_value=-credits.MOST_AT_ONCE, max_value=credits.MOST_AT_ONCE, help_text="Below zero: they are taken back."
    )

    def validate_amount(self, value: int) -> int:
        """Refuse zero."""
        if not value:
            raise serializers.ValidationError("Zero credits are none.", code="zero")
        return value


class BalanceSerializer(ReadOnly):
    """What a client has now."""

    person_id = serializers.IntegerField()
    balance = serializers.IntegerField()


class CreditsView(ApiView):
    """The caller's credits; and, for leads, granting some."""

    key: ClassVar[Key] = Key.REQUIRED
    pagination_class = Statement
    needed: ClassVar[dict[str, str]] = {"POST": "therapists.grant_credits"}
    problems: ClassVar[dict[str, str]] = {"404": "not_found: there is no such person."}

    def get_permissions(self) -> Any:
        """Let everybody see their own."""
        request: Any = getattr(self, "request", None)
        return [MayStaff()] if request is not None and request.method == "POST" else [IsAuthenticated()]

    @extend_schema(operation_id="credits_list", parameters=PAGING, responses=EntryLine(many=True))
    def get(self, request: Request) -> Response:
        """Show the caller's balance and how it came to be."""
        pages, person_id = self.pagination_class(), cast("int", request.user.pk)
        page = pages.paginate_queryset(credits.entries(person_id), request, view=self)
        pages.balance = credits.balance(person_id)
        return pages.get_paginated_response(EntryLine(page, many=True).data)

    @extend_schema(
        operation_id="credits_grant", request=Grant, responses={201: envelope_of("Credits", BalanceSerializer)}
    )
    def post(self, request: Request) -> Response:
        """Grant a client credits, or take some back; the balance never falls below zero."""
        asked = Grant(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            balance = credits.grant_credits(**asked.validated_data, by=actor(request), at=timezone.now())
        except User.DoesNotExist as error:
            raise Http404 from error
        except credits.NotEnoughCredits as error:
            raise Problem(409, "not_enough_credits", str(error), field="amount") from error
        data = {"person_id": asked.validated_data["person_id"], "balance": balance}
        return exact(data=data, what="Granted." if asked.validated_data["amount"] > 0 else "Taken back.", status=201)

    def recalled(self, request: Request, outcome: Mapping[str, Any], **kwargs: Any) -> Response:
        """Tell the balance as it is now."""
        person_id = int(cast("dict[str, Any]", request.data)["person_id"])
        return exact(data={"person_id": person_id, "balance": credits.balance(person_id)}, what="Done.", status=201)
