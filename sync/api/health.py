"""The health addresses at the root: for load balancers, for monitors, for staff."""

from typing import ClassVar

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from interventions.api.base import StaffView
from sync import health


@require_safe
def live(request: HttpRequest) -> JsonResponse:
    """Answer while the process lives; asks nobody else."""
    return JsonResponse({"status": "live"}, headers={"Cache-Control": "no-store"})


@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """Answer 200 while requests can be served as promised, else 503 with what failed."""
    checks = health.readiness()
    failed = [check.name for check in checks if not check.is_good]
    body = {
        "status": "not ready" if failed else "ready",
        "failed": failed,
        "checks": {check.name: {"ok": check.is_good, "found": check.found} for check in checks},
    }
    return JsonResponse(body, status=503 if failed else 200, headers={"Cache-Control": "no-store"})


class HealthView(StaffView):
    """Every part that must work: how it is, in a word, a sentence and figures."""

    needed: ClassVar[dict[str, str]] = {"GET": "interventions.view_intervention"}

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        """Show the parts; where one of them cannot be read the answer is a 503, and that part says so: never a zero."""
        found = health.detail()
        return Response(found, status=503 if found["unknown"] else 200)
