"""What every serializer of the API shares: nothing unknown is accepted, text is tidy, and problems have one shape."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.datastructures import MultiValueDict
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.fields import empty

from interventions.typed import tidy


class Line(serializers.CharField):
    """Text of one line: whatever white space comes in it is single spaces."""

    def to_internal_value(self, data: Any) -> str:
        """Give the text; raises ValidationError for a number too, which the framework would spell in its own way."""
        if isinstance(data, int | float):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class Strict(serializers.Serializer[Any]):
    """
    Refuse fields that it does not know, or that may only be read, instead of dropping them; and tidy what was typed.

    Whoever misspells a field must not be told that it was saved. What is absent stays absent, null stays null and empty
    stays empty: none of them ever stands for another. A text that is not to be trimmed, a password, is left as it is.
    """

    # What the documents say of the whole, beside its fields.
    documented: ClassVar[dict[str, Any]] = {}

    def to_internal_value(self, data: Any) -> Any:
        """Give what was accepted; raises ValidationError that names every fault at once."""
        if not isinstance(data, Mapping):
            return super().to_internal_value(data)
        data = self._tidied(data)
        faults: dict[str, Any] = {}
        for name in data:
            if name not in self.fields:
                faults[str(name)] = [ErrorDetail("There is no such field.", code="unknown_field")]
            elif self.fields[name].read_only:
                faults[str(name)] = [ErrorDetail("This field can only be read.", code="read_only")]
            elif type(data[name]) in {int, float} and isinstance(self.fields[name], serializers.CharField):
                # The framework would save 4.4207946e+11 as somebody's telephone.
                faults[str(name)] = [ErrorDetail(str(self.fields[name].error_messages["invalid"]), code="invalid")]
        try:
            accepted = super().to_internal_value(data)
        except ValidationError as error:
            raise ValidationError({**_as_dict(error.detail), **faults}) from error
        if faults:
            raise ValidationError(faults)
        return accepted

    def _tidied(self, data: Any) -> Any:
        # A form of several parts holds lists; none of ours has a field of text.
        if isinstance(data, MultiValueDict):
            return data
        typed = {name for name, field in self.fields.items() if getattr(field, "trim_whitespace", False)}
        return {
            name: tidy(value, is_line=isinstance(self.fields[name], Line)) if name in typed and isinstance(value, str) else value
            for name, value in data.items()
        }  # fmt: skip


class NoBody(Strict):
    """A request that says everything by its path."""


class ReadOnly(serializers.Serializer[Any]):
    """A shape that is only ever answered; it documents and never validates."""

    def run_validation(self, data: Any = empty) -> Any:
        """Refuse: what a caller sends is checked by a Strict shape. Raises TypeError."""
        raise TypeError(f"{type(self).__name__} is the shape of an answer and accepts nothing: derive it from Strict.")


class FaultSerializer(ReadOnly):
    """One part of a refusal."""

    code = serializers.CharField()
    detail = serializers.CharField()
    pointer = serializers.CharField(required=False, help_text="JSON pointer to the part of the request.")
    field = serializers.CharField(required=False)
    sent = serializers.JSONField(required=False, help_text="With 412: what you sent.")
    stored = serializers.JSONField(required=False, help_text="With 412: what stands there.")


class ProblemSerializer(ReadOnly):
    """RFC 9457 with a code for programs, faults by field and the request's id."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    instance = serializers.CharField()
    code = serializers.CharField()
    errors = FaultSerializer(many=True)  # type: ignore[assignment]
    request_id = serializers.CharField()


class TargetSerializer(ReadOnly):
    """One place and how it stands."""

    target = serializers.CharField()
    state = serializers.CharField()


class SyncStatusSerializer(ReadOnly):
    """How many of the places that apply are up to date, read from debt and ledger."""

    synced = serializers.IntegerField()
    total = serializers.IntegerField()
    targets = TargetSerializer(many=True)


class Saved(ReadOnly):
    """What every successful write answers; `envelope_of` adds `data`."""

    success = serializers.BooleanField()
    message = serializers.CharField(help_text="One sentence for people.")
    degraded = serializers.BooleanField(help_text="Saved, but not yet everywhere.")
    warnings = serializers.ListField(child=serializers.CharField())
    revision = serializers.IntegerField(allow_null=True)
    syncStatus = SyncStatusSerializer(allow_null=True)  # noqa: N815 - the contract's spelling


def envelope_of(name: str, inner: type[serializers.BaseSerializer[Any]]) -> type[Saved]:
    """Give the documented shape of a write whose `data` is `inner`."""
    return type(f"Saved{name}", (Saved,), {"data": inner(), "__doc__": Saved.__doc__})


def _as_dict(detail: Any) -> dict[str, Any]:
    return dict(detail) if isinstance(detail, Mapping) else {"non_field_errors": detail}
