"""Items as the API shows them."""

from collections.abc import Iterable
from typing import Any

from rest_framework import serializers

from interventions.api.serializers import Strict
from interventions.handlers import Entity, handler
from interventions.models import History, Intervention, State

SHOWN = (
    "id", "operation", "person_id", "target", "state", "resolved", "resolution", "cause", "code", "error", "attempts",
    "timestamp", "last_failed_at", "resolved_at", "resolved_by", "resolution_notes", "retry_by", "retry_until",
    "assignee", "snoozed_until",
)  # fmt: skip


class ItemSerializer(serializers.ModelSerializer[Intervention]):
    """One target of one person that needs somebody."""

    person = serializers.SerializerMethodField(help_text="The person's name.")
    next_try_at = serializers.SerializerMethodField(help_text="When it is tried again by itself.")

    class Meta:
        model = Intervention
        fields = (*SHOWN, "person", "next_try_at")
        read_only_fields = fields

    def get_person(self, item: Intervention) -> str | None:
        """The name, looked up for the whole page at once."""
        names: dict[int, str] = self.context["names"]
        return names.get(item.person_id) if item.person_id is not None else None

    def get_next_try_at(self, item: Intervention) -> str | None:
        """The planned next try, looked up for the whole page at once."""
        planned: dict[Entity, str] = self.context["planned"]
        return planned.get((item.person_id, item.target)) if item.person_id is not None else None


class LineSerializer(serializers.ModelSerializer[History]):
    """One line of history."""

    class Meta:
        model = History
        fields = ("at", "actor", "action", "from_state", "to_state", "request_id")
        read_only_fields = fields


class ItemDetailSerializer(ItemSerializer):
    """An item with what happened to it, what a retry would write, and whether both sides are equal now."""

    history = serializers.SerializerMethodField()
    is_equal = serializers.SerializerMethodField()
    digest = serializers.SerializerMethodField()
    outlook = serializers.SerializerMethodField()

    class Meta:
        model = Intervention
        fields = (*SHOWN, "person", "next_try_at", "history", "is_equal", "digest", "outlook")
        read_only_fields = fields

    def get_history(self, item: Intervention) -> LineSerializer(many=True):  # type: ignore[valid-type]
        """Everything that happened, oldest first."""
        return LineSerializer(History.objects.of("intervention", str(item.pk)), many=True).data

    def get_is_equal(self, item: Intervention) -> bool | None:
        """Whether both sides are equal now; null: there are no two sides."""
        comparison = self.context["compared"]
        return comparison.is_equal if comparison else None

    def get_digest(self, item: Intervention) -> str:
        """Pins what both sides say now, without holding it; empty: there are no two sides."""
        comparison = self.context["compared"]
        return comparison.digest if comparison else ""

    def get_outlook(self, item: Intervention) -> str:
        """What a retry would write."""
        comparison = self.context["compared"]
        return comparison.outlook if comparison else ""


class FilterSerializer(Strict):
    """How the list may be narrowed."""

    state = serializers.ChoiceField(choices=State.choices, required=False)
    target = serializers.CharField(required=False, max_length=200)
    cause = serializers.CharField(required=False, max_length=500)


class NoteSerializer(Strict):
    """What whoever resolves has to say."""

    note = serializers.CharField(required=False, allow_blank=True, max_length=2000, default="")
    seen = serializers.CharField(
        required=False, max_length=2000, help_text="The `digest` that you saw: no other difference is accepted then."
    )


def around(items: Iterable[Intervention]) -> dict[str, Any]:
    """Look up what a page of items shows besides their own columns, set-based."""
    found = [item for item in items if item.person_id is not None]
    entities = {(item.person_id, item.target) for item in found if item.person_id is not None}
    if not entities:
        return {"names": {}, "planned": {}}
    people = {person_id for person_id, _ in entities}
    return {"names": handler().label(people), "planned": handler().next_tries(entities)}


def detail_of(item: Intervention) -> dict[str, Any]:
    """Give one item in full."""
    compared = None
    if item.person_id is not None and item.target:
        entity = (item.person_id, item.target)
        compared = handler().compare([entity]).get(entity)
    return dict(ItemDetailSerializer(item, context=around([item]) | {"compared": compared}).data)
