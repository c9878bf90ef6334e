"""The base of every view of the API."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

from django.http.response import HttpResponseBase
from drf_spectacular.openapi import AutoSchema
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from interventions import idempotency
from interventions.api import keys
from interventions.api.envelope import Standing, answered
from interventions.api.keys import Key as Key
from interventions.api.parsers import BoundedJSONParser
from interventions.api.problems import MEDIA_TYPE
from interventions.api.serializers import ProblemSerializer, Strict
from interventions.idempotency import Asked

KEY_PROBLEMS = {
    "409": "in_flight: the same request is under way. Other codes: it contradicts how things stand.",
    "422": "key_reused: the key was another request's.",
}
ANY_PROBLEMS = {
    "400": "invalid, and other codes: something in the request cannot be accepted; `errors` says what.",
    "406": "not_acceptable: answers are JSON.",
    "429": "throttled: the caller, or too many wrong tries; `Retry-After` says when to ask again.",
    "503": "unavailable: it cannot be read or saved right now; `Retry-After` says when to ask again.",
}
CALLER_PROBLEMS = {
    "401": "not_authenticated, session_expired: sign in.",
    "403": "permission_denied: it is not the caller's to do. csrf_failed: the session's token is missing.",
}
BODY_PROBLEMS = {"413": "too_large: the body is.", "415": "unsupported_media_type: the body is of another type."}
NO_SUCH = {"404": "not_found: there is nothing here, or it is not the caller's to see."}


class ProblemSchema(AutoSchema):
    """Documents each problem that an operation may answer, and what a key means to it; refuses fields that are not named."""

    def get_override_parameters(self) -> list[Any]:
        """Add the headers of keys to what a view documents."""
        return [*super().get_override_parameters(), *(keys.documented(self._key) if self._is_unsafe else [])]

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        found = self._get_response_for_code(  # type: ignore[no-untyped-call]
            ProblemSerializer, "default", [MEDIA_TYPE], direction
        )
        for code, told in self._problems().items():
            bodies.setdefault(code, found | {"description": told})
        return bodies | {"default": found | {"description": "What went wrong, and what to do."}}

    def _problems(self) -> dict[str, str]:
        """Give the refusals that an operation of this kind has, by status."""
        told = dict(ANY_PROBLEMS)
        if self.get_auth():
            told |= CALLER_PROBLEMS
        if "{" in self.path:
            told |= NO_SUCH
        if self._is_unsafe:
            told |= BODY_PROBLEMS
            told |= {} if self._key is Key.IGNORED else KEY_PROBLEMS
        return told | getattr(self.view, "problems", {})

    def _get_request_body(self, direction: Any = "request") -> Any:
        found = super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        if found and "minProperties" in getattr(self.get_request_serializer(), "documented", {}):
            found["required"] = True
        return found

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Any:
        found = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        strict = {"additionalProperties": False}
        return found | strict | serializer.documented if isinstance(serializer, Strict) else found

    @property
    def _is_unsafe(self) -> bool:
        return self.method not in SAFE_METHODS

    @property
    def _key(self) -> Key:
        return self.view.key_to(self.method) if isinstance(self.view, ApiView) else Key.IGNORED


class ApiView(APIView):
    """
    Strict JSON in, JSON or a problem out, never kept by a cache that others share.

    An unsafe request with an idempotency key has one effect and one answer, however often it is sent: its operation
    opens its transaction with `idempotency.keyed`, as `therapists.operations.primary` and `interventions.patience` do.
    """

    schema = ProblemSchema()
    parser_classes: Any = [BoundedJSONParser]
    metadata_class = None
    key: ClassVar[Key] = Key.OPTIONAL
    # Methods after which there is no caller any more whose key it could be.
    keyless: ClassVar[frozenset[str]] = frozenset()
    # Methods that do nothing before their transaction but read the request: what was answered before is looked up only
    # where that transaction finds the key taken.
    claiming: ClassVar[frozenset[str]] = frozenset()
    # Problems that its operations have beside those of their kind, by status, for the documents.
    problems: ClassVar[dict[str, str]] = {}
    # The row that this request's answer belongs to, once its write is committed.
    _row: UUID | None = None

    @classmethod
    def key_to(cls, method: str | None) -> Key:
        """Tell what a key means to a method."""
        return Key.IGNORED if method in cls.keyless else cls.key

    def translated(self, error: Exception) -> Exception:
        """Give the problem behind an error of an operation; the error itself where there is none."""
        return error

    def recalled(self, request: Request, outcome: Mapping[str, Any], **kwargs: Any) -> Response:
        """Compose the answer to a write that is committed and was never answered, from how things stand now."""
        return answered(Standing(is_known=False), data=None, what="This was done before; its answer was lost.")

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Ask who calls and whether they may; only then look at a key."""
        super().initial(request, *args, **kwargs)
        keys.refuse_misdirected(request, is_strict=self.key is Key.REQUIRED)
        name, key = str(request.method).lower(), self.key_to(request.method)
        if request.method in SAFE_METHODS or key is Key.IGNORED or name not in self.http_method_names:
            return
        handler = getattr(self, name, None)
        if handler and (asked := keys.asked(request, is_required=key is Key.REQUIRED)):
            # Where the framework looks for it next.
            setattr(self, name, partial(self._once, asked, handler))

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Response:
        """Say that the answer is the caller's own, and keep a keyed one before it is sent."""
        final: Response = super().finalize_response(request, response, *args, **kwargs)
        final.headers.setdefault("Cache-Control", "private, no-cache")
        if self._row is not None and keys.is_stored(final):
            return keys.stored(final, self._row)
        return final

    def _once(
        self, asked: Asked, handler: Callable[..., Response], request: Request, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Answer as `handler` does, or as it did when the same was asked before."""
        found = None if asked.method in self.claiming else idempotency.find(asked)
        if found is None:
            try:
                with idempotency.asking(asked):
                    response = handler(request, *args, **kwargs)
                self._row = asked.id
                return response
            except idempotency.KeyTaken:
                found = idempotency.find(asked)
            except idempotency.InFlight as error:
                raise keys.in_flight() from error
        kept = keys.awaited(asked, found)
        if kept.answer is not None:
            return keys.replayed(kept.answer)
        self._row, recalled = kept.id, self.recalled(request, kept.outcome, **kwargs)
        recalled[keys.REPLAYED] = "true"
        return recalled


class MayStaff(BasePermission):
    """Staff with the permission that the view names for the method; read from the source at each request."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Tell whether the caller may; raises MethodNotAllowed for a method that the view does not name."""
        user = request.user
        if not (user.is_authenticated and user.is_active and user.is_staff):
            return False
        needed = view.needed.get("GET" if request.method == "HEAD" else request.method)
        if needed is None:
            raise MethodNotAllowed(str(request.method))
        return bool(user.has_perm(needed))


class StaffView(ApiView):
    """A view for staff; `needed` names the permission for each method."""

    permission_classes: Any = [MayStaff]
    needed: ClassVar[dict[str, str]] = {}


def actor(request: Request) -> str:
    """Give the caller as history names them."""
    return f"user:{request.user.pk}"
