"""What Prometheus reads: this web's own requests, and every part as PostgreSQL, Redis and the disks have it now."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from interventions.api.problems import plain_problem
from sync.metrics import Parts, counted

LOOPBACK = ("127.", "::1", "::ffff:127.")
# A proxy of this machine comes from the loopback address too, and says for whom.
FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via")


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Answer in Prometheus' text format, to whoever shows METRICS_TOKEN; without one, to this machine alone."""
    if not _may_read(request):
        return _refused(request)
    parts = CollectorRegistry(auto_describe=False)
    parts.register(Parts())
    body = generate_latest(counted()) + generate_latest(parts)
    return HttpResponse(body, content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})


def _may_read(request: HttpRequest) -> bool:
    if token := settings.METRICS_TOKEN:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and constant_time_compare(given.strip(), token)
    is_direct = not settings.PROXIES and not any(name in request.headers for name in FORWARDED)
    return is_direct and str(request.META.get("REMOTE_ADDR", "")).startswith(LOOPBACK)


def _refused(request: HttpRequest) -> HttpResponse:
    if not settings.METRICS_TOKEN:
        return plain_problem(
            request, status=403, code="permission_denied",
            detail="Metrics are for this machine alone until METRICS_TOKEN is set.",
        )  # fmt: skip
    answer = plain_problem(
        request, status=401, code="not_authenticated", detail="Send METRICS_TOKEN as `Authorization: Bearer …`."
    )
    answer["WWW-Authenticate"] = "Bearer"
    return answer
