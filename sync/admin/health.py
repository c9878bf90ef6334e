"""The page that says of everything that must work how it is, in words."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from sync import vitals
from sync.admin.words import BAD, GOOD, LATE
from sync.vitals import Part, Verdict

LOOKS = {Verdict.GOOD: GOOD, Verdict.WORRYING: LATE, Verdict.BAD: BAD, Verdict.UNKNOWN: BAD}
WORDS = {Verdict.GOOD: "good", Verdict.WORRYING: "worrying", Verdict.BAD: "bad", Verdict.UNKNOWN: "not known"}
# What to do where a part is not good, beyond what its sentence says.
ADVICE = {
    "database": "Look for a transaction that somebody left open, and for a program with too many connections.",
    "durability": "Set it back in postgresql.conf and reload: nobody is served meanwhile.",
    "replicas": "Look at the replica and the network to it. Nothing here reads from one.",
    "net": "manage.py safety_net status says which part; manage.py safety_net install puts it right.",
    "owed": "Look whether workers run, which target is shut, and what the interventions say.",
    "targets": "The target's page says why, and when it is tried next.",
    "items": "The inbox has them, by cause.",
    "consistency": "manage.py audit_drift --full --owe compares everybody now; what differs is owed again, and follows.",
    "signs": "Start what is silent; its log says why it ended. What is owed is kept meanwhile.",
    "failures": "The log has a line with the request's id for each of them.",
    "second_bests": "Mend the service, then have it called again under Second bests; what waits follows by itself.",
    "keys": "Keys go by themselves after IDEMPOTENCY_RETENTION_HOURS; look for a program that makes too many.",
    "queues": "Start Redis, or workers. Nothing is lost: the sweep finds what is owed.",
    "spool": "It is taken in by the next sweep, once PostgreSQL takes it; manage.py take_in_spool does it now.",
    "disks": "Make room before it is full: without any, writes are refused.",
}
LINKS = {"items": "admin:interventions_intervention_changelist", "consistency": "week"}


def page(request: HttpRequest) -> HttpResponse:
    """Show every part to those who may look at interventions."""
    response: HttpResponse = admin.site.admin_view(_page)(request)
    return response


@require_safe
def _page(request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm("interventions.view_intervention"):
        raise PermissionDenied
    # What needs a look comes first, the worst of it at the top.
    parts = sorted(vitals.everything(), key=lambda part: list(Verdict).index(part.verdict), reverse=True)
    context = admin.site.each_context(request) | {
        "title": "Health", "read_at": timezone.now(), "lines": [_line(part) for part in parts],
        "wrong": sum(part.verdict is not Verdict.GOOD for part in parts),
    }  # fmt: skip
    return TemplateResponse(request, "admin/sync/health.html", context)


def _line(part: Part) -> dict[str, Any]:
    is_good = part.verdict is Verdict.GOOD
    return {
        "title": part.title, "word": WORDS[part.verdict], "look": LOOKS[part.verdict], "says": part.says,
        "advice": "" if is_good else ADVICE[part.name], "link": reverse(LINKS[part.name]) if part.name in LINKS else "",
        "shut": [name for name, is_shut in part.figures.get("shut", {}).items() if is_shut],
    }  # fmt: skip
