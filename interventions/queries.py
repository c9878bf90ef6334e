"""What the desk shows: causes, tabs, timelines."""

import datetime as dt
import hashlib
from dataclasses import dataclass

from django.db.models import Count, Max, Min, QuerySet

from interventions.handlers import handler
from interventions.models import History, Intervention, State

# Numbers on tabs are for a glance: beyond this they say "more than".
MOST_COUNTED = 999
NEEDS_A_PERSON = (State.OPEN, State.REOPENED)
# Filters offer what stands in so many of the newest rows: DISTINCT over the whole log took two thirds of the inbox's
# time at half a million rows.
NEWEST_LOOKED_AT = 1000


@dataclass(frozen=True)
class Cause:
    """Live items that share a reason."""

    cause: str
    code: str
    target: str
    items: int
    first_at: dt.datetime
    last_at: dt.datetime | None

    @property
    def id(self) -> str:
        """A name for addresses: the same for as long as the reason is the same."""
        return _id_of(self.cause)


@dataclass(frozen=True)
class Moment:
    """One line of an item's timeline. `kind`: history or try."""

    at: dt.datetime
    kind: str
    action: str
    actor: str = ""
    code: str = ""
    error_object: str = ""
    number: int = 0
    duration_ms: int = 0


def needing_a_person() -> QuerySet[Intervention]:
    """Narrow to items that nothing but a person moves, oldest first."""
    return Intervention.objects.filter(resolved=False, state__in=NEEDS_A_PERSON).order_by("timestamp")


def retrying() -> QuerySet[Intervention]:
    """Narrow to items with a retry under way."""
    return Intervention.objects.filter(state=State.RETRYING)


def causes(limit: int) -> list[Cause]:
    """List the causes with the most live items."""
    rows = (
        Intervention.objects.filter(resolved=False)
        .values("cause", "code", "target")
        .annotate(items=Count("id"), first_at=Min("timestamp"), last_at=Max("last_failed_at"))
        .order_by("-items", "first_at")[:limit]
    )
    return [Cause(**row) for row in rows]


def cause_of(cause_id: str) -> str | None:
    """Give the cause of live items that has this id; None: nothing of it is open."""
    live = Intervention.objects.filter(resolved=False).order_by().values_list("cause", flat=True).distinct()
    return next((cause for cause in live if _id_of(cause) == cause_id), None)


def recent_kinds() -> set[tuple[str, str]]:
    """Give the target and code of each of the newest live and the newest resolved items."""
    live = Intervention.objects.filter(resolved=False).order_by("-timestamp")
    closed = Intervention.objects.filter(resolved=True).order_by("-resolved_at")
    return {kind for items in (live, closed) for kind in items.values_list("target", "code")[:NEWEST_LOOKED_AT]}


def bounded_count(items: QuerySet[Intervention]) -> int:
    """Count, but never further than MOST_COUNTED + 1."""
    return items.order_by()[: MOST_COUNTED + 1].count()


def timeline(item: Intervention) -> list[Moment]:
    """Give everything on record about an item, newest first."""
    lines = History.objects.of("intervention", str(item.pk))
    moments = [Moment(line.at, "history", line.action, actor=line.actor) for line in lines]
    if item.person_id is not None and item.target:
        moments += [
            Moment(
                dt.datetime.fromisoformat(one.at), "try", "settled" if one.outcome == "settled" else "failed",
                code=one.outcome, error_object=one.error_object, number=one.number, duration_ms=one.duration_ms,
            )
            for one in handler().tries((item.person_id, item.target))
        ]  # fmt: skip
    return sorted(moments, key=lambda moment: moment.at, reverse=True)


def _id_of(cause: str) -> str:
    return hashlib.sha256(cause.encode()).hexdigest()[:16]
