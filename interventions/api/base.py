"""The base of every view of the API."""

from typing import Any, ClassVar

from drf_spectacular.openapi import AutoSchema
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from interventions.api.parsers import BoundedJSONParser
from interventions.api.problems import MEDIA_TYPE
from interventions.api.serializers import ProblemSerializer


class ProblemSchema(AutoSchema):
    """Documents the problem that every operation may answer."""

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        found = self._get_response_for_code(  # type: ignore[no-untyped-call]
            ProblemSerializer, "default", [MEDIA_TYPE], direction
        )
        return bodies | {"default": found | {"description": "What went wrong, and what to do."}}


class ApiView(APIView):
    """Strict JSON in, JSON or a problem out, never kept by a cache that others share."""

    schema = ProblemSchema()
    parser_classes: Any = [BoundedJSONParser]
    metadata_class = None

    def translated(self, error: Exception) -> Exception:
        """Give the problem behind an error of an operation; the error itself where there is none."""
        return error

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Response:
        """Say that the answer is the caller's own."""
        final: Response = super().finalize_response(request, response, *args, **kwargs)
        final.headers.setdefault("Cache-Control", "private, no-cache")
        return final


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
