"""Who sees to an item, and until when it is put off, over HTTP; and what decisions about causes share with it."""

import datetime as dt
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from interventions import attention
from interventions.api.base import StaffView, actor
from interventions.api.problems import Problem
from interventions.api.serializers import NoBody, Strict
from interventions.api.views import SAVED_ITEM, WriteView, name_of
from interventions.models import History, Intervention

ASSIGN, SNOOZE = "interventions.assign_intervention", "interventions.snooze_intervention"


class InsteadSerializer(Strict):
    """Who sees to it from now on is the caller."""

    instead_of = serializers.CharField(
        required=False, max_length=40, default="", help_text="Who sees to it now, `user:ID`, to take it over from them."
    )


class UntilSerializer(Strict):
    """Until when it is put off."""

    until = serializers.DateTimeField(help_text="30 days ahead at most.")


class IgnoredSerializer(UntilSerializer):
    """Until when, and why, it is ignored."""

    reason = serializers.CharField(max_length=attention.LONGEST_NOTE)


class NotedSerializer(Strict):
    """What is to stand there from now on."""

    note = serializers.CharField(allow_blank=True, max_length=attention.LONGEST_NOTE)
    was = serializers.CharField(
        required=False, allow_blank=True, max_length=attention.LONGEST_NOTE, default="", help_text="The note that it replaces."
    )  # fmt: skip


Decide = Callable[[UUID, str, dt.datetime, dict[str, Any]], object]


class Decision:
    """What views of decisions share: one body, one operation, and 409 with who was first. Stands before the view."""

    body: type[Strict] = NoBody
    decide: Decide

    def decided(self, request: Request, pk: UUID) -> object:
        """Check what was sent and do it; raises what the operation raises."""
        words = self.body(data=request.data)
        words.is_valid(raise_exception=True)
        return type(self).decide(pk, actor(request), timezone.now(), dict(words.validated_data))

    def translated(self, error: Exception) -> Exception:
        """Say who did what before, or what of the body will not do."""
        if isinstance(error, attention.Overtaken):
            return Problem(409, "overtaken", f"Nothing was changed: {_told(error.line)}")
        if isinstance(error, attention.WrongMoment):
            return ValidationError({"until": "It must lie ahead, 30 days at most."}, code="out_of_range")
        return error


class ItemDecisionView(Decision, WriteView):
    """Who sees to an item, and when."""

    said: ClassVar[str] = ""

    def post(self, request: Request, pk: UUID) -> Response:
        """Decide, and show how the item stands now."""
        item = get_object_or_404(Intervention, pk=pk)
        self.decided(request, pk)
        return self.answer(item, self.said)


View = TypeVar("View", bound=StaffView)


def decision_view(
    base: type[View], name: str, permission: str, body: type[Strict], told: str, decide: Decide, *, answers: Any
) -> type[View]:
    """Make the view of one decision, documented by the sentence `told`; `name` is its operation's."""
    shape = {
        "needed": {"POST": permission},
        "body": body,
        "decide": staticmethod(decide),
        "said": told,
        "__doc__": told,
    }
    made = type(f"{name.title().replace('_', '')}View", (base,), shape)
    documented = extend_schema(operation_id=name, request=body, responses=answers, description=told)
    shown: type[View] = extend_schema_view(post=documented)(made)
    return shown


# By the last word of their address.
ITEM_DECISIONS = {
    name.replace("_", "-"): decision_view(
        ItemDecisionView, f"interventions_{name}", permission, body, said, decide, answers=SAVED_ITEM
    )
    for name, permission, body, said, decide in (
        ("assign", ASSIGN, InsteadSerializer, "You see to it from now on.",
         lambda pk, by, at, words: attention.assign(item_id=pk, by=by, **words)),
        ("hand_back", ASSIGN, NoBody, "Nobody sees to it now.",
         lambda pk, by, at, words: attention.hand_back_item(item_id=pk, by=by)),
        ("snooze", SNOOZE, UntilSerializer, "It is out of the inbox until then.",
         lambda pk, by, at, words: attention.snooze_item(item_id=pk, by=by, at=at, **words)),
        ("unsnooze", SNOOZE, NoBody, "It is back in the inbox.",
         lambda pk, by, at, words: attention.unsnooze_item(item_id=pk, by=by, at=at)),
    )
}  # fmt: skip


def _told(line: History | None) -> str:
    if line is None:
        return "it stands otherwise by now."
    return f"{name_of(line.actor)} was first, at {line.at:%Y-%m-%d %H:%M:%S} UTC ({line.action})."
