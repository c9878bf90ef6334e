"""Which services are not called on demand for a while, because they failed; shared by all processes, and what became of calls."""

import datetime as dt
from typing import Any

from django.db import connection
from django.db.models import Count, Max

from sync.models import ServiceFailure, ServiceTally

FAILURES, WINDOW = 3, dt.timedelta(minutes=5)
# Whoever asks for more is asked again after a day.
LONGEST_REST = dt.timedelta(days=1)
# Of a service that fails for one person after the other no more than these are kept.
MOST_KEPT = 50


def rests(service: str, *, person_id: int | None, at: dt.datetime) -> bool:
    """
    Tell whether a service is to be left alone, in the path of this person's request.

    It failed three times in five minutes, or asked to be left alone. The failures of one person alone count against
    nobody else: what one person sends must not take the service from all.
    """
    rows = list(
        ServiceFailure.objects.filter(service=service, at__gt=at - LONGEST_REST)
        .order_by("-at")
        .values_list("person_id", "at", "rests_until")[:MOST_KEPT]
    )
    if any(until is not None and until > at for _, _, until in rows):
        return True
    people = [person for person, failed_at, _ in rows if failed_at > at - WINDOW]
    if len(people) < FAILURES:
        return False
    return len(set(people)) > 1 or people.count(person_id) >= FAILURES


def note_failure(
    service: str, *, person_id: int | None, code: str, at: dt.datetime, rest_seconds: float | None = None
) -> None:
    """Remember that a service failed."""
    until = None if rest_seconds is None else at + min(LONGEST_REST, dt.timedelta(seconds=max(0.0, rest_seconds)))
    ServiceFailure.objects.create(service=service, person_id=person_id, code=code, at=at, rests_until=until)
    newest = ServiceFailure.objects.filter(service=service).order_by("-at", "-pk").values("pk")[:MOST_KEPT]
    ServiceFailure.objects.filter(service=service).exclude(pk__in=list(newest.values_list("pk", flat=True))).delete()


def clear_failures(service: str) -> int:
    """Forget how a service failed, because it answered or because somebody has mended it; gives how many failures."""
    return ServiceFailure.objects.filter(service=service).delete()[0]


def count(service: str, outcome: str, *, milliseconds: int, at: dt.datetime) -> None:
    """Count a call by what became of it."""
    hour = at.replace(minute=0, second=0, microsecond=0)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO sync_service_tally AS t (service, hour, outcome, number, milliseconds) VALUES (%s, %s, %s, 1, %s)"
            " ON CONFLICT (service, hour, outcome) DO UPDATE SET number = t.number + 1,"
            " milliseconds = t.milliseconds + excluded.milliseconds",
            [service, hour, outcome, milliseconds],
        )


def statistics(*, at: dt.datetime) -> list[dict[str, Any]]:
    """
    Give for each service its failures of the last five minutes, the last one, and the calls of a day by outcome.

    `rests_for` says who is not helped by it at present: everybody, one person, or nobody (empty).
    """
    recent = ServiceFailure.objects.filter(at__gt=at - WINDOW)
    failures = {
        name: (number, last)
        for name, number, last in recent.values_list("service").annotate(count=Count("pk"), last=Max("at"))
    }
    none = (0, None)
    calls: dict[str, dict[str, dict[str, int]]] = {}
    for row in ServiceTally.objects.filter(hour__gt=at - dt.timedelta(days=1)).order_by("service", "outcome"):
        sums = calls.setdefault(row.service, {}).setdefault(row.outcome, {"number": 0, "milliseconds": 0})
        sums["number"] += row.number
        sums["milliseconds"] += row.milliseconds
        sums["mean_milliseconds"] = round(sums["milliseconds"] / sums["number"])
    return [
        {
            "service": name,
            "failures": failures.get(name, none)[0],
            "last_failure": failures.get(name, none)[1],
            "rests_for": _rests_for(name, failures.get(name, none)[0], at),
            "calls": calls.get(name, {}),
        }
        for name in sorted(failures.keys() | calls.keys())
    ]


def _rests_for(service: str, failures: int, at: dt.datetime) -> str:
    if rests(service, person_id=None, at=at):
        return "everybody"
    return "one person" if failures >= FAILURES else ""


def prune(*, at: dt.datetime) -> None:
    """Delete failures of long ago, and the numbers of more than a month ago."""
    ServiceFailure.objects.filter(at__lt=at - LONGEST_REST).delete()
    ServiceTally.objects.filter(hour__lt=at - dt.timedelta(days=31)).delete()
