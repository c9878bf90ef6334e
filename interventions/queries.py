"""What the desk shows: tabs, what is new, timelines, requests that nobody was told of."""

import datetime as dt
from dataclasses import dataclass

from django.db import connection
from django.db.models import Case, Max, Q, QuerySet, When

from interventions.handlers import handler
from interventions.models import Cause, CauseState, History, Intervention, KeyedRequest, State

# Numbers on tabs are for a glance: beyond this they say "more than".
MOST_COUNTED = 999
NEEDS_A_PERSON = (State.OPEN, State.REOPENED)
# Of live items the same as being in one of those states, which a constraint sees to. Said with IN, the planner takes the
# live ones in those states for few, and sorts ten thousand for the first page.
_NOBODY_TRIES = ~Q(state=State.RETRYING)
# Filters offer what stands in so many of the newest rows: DISTINCT over the whole log took two thirds of the inbox's
# time at half a million rows.
NEWEST_LOOKED_AT = 1000
_RECENT_KINDS = f"""
SELECT target, code FROM (SELECT target, code FROM manual_intervention_log WHERE NOT resolved
                          ORDER BY timestamp DESC LIMIT {NEWEST_LOOKED_AT}) AS live
UNION
SELECT target, code FROM (SELECT target, code FROM manual_intervention_log WHERE resolved
                          ORDER BY resolved_at DESC LIMIT {NEWEST_LOOKED_AT}) AS closed
"""


@dataclass(frozen=True)
class Marks:
    """What staff decided about causes, as far as one person's inbox goes by it: fingerprints at one moment."""

    by: str
    at: dt.datetime
    mine: frozenset[str]
    put_off: frozenset[str]


@dataclass(frozen=True)
class Waiting:
    """How many items need a person now, and how many more are put off; each counted as far as a tab counts."""

    now: int
    put_off: int


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
    to_state: str | None = None


def marks(*, by: str, at: dt.datetime) -> Marks:
    """Read whose causes are whose own, and which are snoozed or ignored now."""
    is_off = Q(snoozed_until__gt=at) | Q(ignored_until__gt=at)
    found = (
        Cause.objects.exclude(state=CauseState.RESOLVED)
        .filter(is_off | Q(owner=by))
        .annotate(is_off=Case(When(is_off, then=True), default=False))
        .values_list("fingerprint", "owner", "is_off")
    )
    told = list(found)
    return Marks(
        by, at, frozenset(cause for cause, owner, _ in told if owner == by), frozenset(c for c, _, off in told if off)
    )


def in_tab(items: QuerySet[Intervention], tab: str, marks: Marks) -> QuerySet[Intervention]:
    """
    Narrow to a part of the inbox; any word but the known ones means what needs a person and was not put off.

    The fingerprints are given one by one: the planner then finds few among many by the index on live causes.
    """
    live = items.filter(resolved=False)
    is_off = Q(snoozed_until__gt=marks.at)
    if marks.put_off:
        is_off |= Q(cause__in=marks.put_off)
    match tab:
        case "mine":
            is_mine = Q(assignee=marks.by)
            return live.filter(is_mine | Q(cause__in=marks.mine) if marks.mine else is_mine)
        case "retrying":
            return items.filter(state=State.RETRYING)
        case "snoozed":
            return live.filter(is_off)
        case "resolved":
            return items.filter(resolved=True)
        case "all":
            return items
        case _:
            return live.filter(_NOBODY_TRIES, ~is_off)


def waiting(*, at: dt.datetime, target: str | None = None) -> Waiting:
    """Count what the tabs of those names hold, whoever looks; of one target, or of all."""
    items = Intervention.objects.filter(target=target) if target else Intervention.objects.all()
    found = marks(by="", at=at)
    return Waiting(bounded_count(in_tab(items, "", found)), bounded_count(in_tab(items, "snoozed", found)))


def newest_moment(at: dt.datetime) -> dt.datetime:
    """Give since when whatever is new came after what stands in the inbox now; `at` where nothing does."""
    live = Intervention.objects.filter(resolved=False)
    came = live.order_by("-timestamp").values_list("timestamp", flat=True).first()
    back = live.filter(state=State.REOPENED).aggregate(at=Max("last_failed_at"))["at"]
    return max([moment for moment in (came, back) if moment], default=at)


def newer(items: QuerySet[Intervention], since: dt.datetime) -> QuerySet[Intervention]:
    """Narrow to what opened, or came back, after a moment."""
    return items.filter(Q(timestamp__gt=since) | Q(state=State.REOPENED, last_failed_at__gt=since))


def recent_kinds() -> set[tuple[str, str]]:
    """Give the target and code of each of the newest live and the newest resolved items."""
    with connection.cursor() as cursor:
        cursor.execute(_RECENT_KINDS)
        return set(cursor.fetchall())


def bounded_count(items: QuerySet[Intervention]) -> int:
    """Count, but never further than MOST_COUNTED + 1."""
    return items.order_by()[: MOST_COUNTED + 1].count()


def timeline(item: Intervention) -> list[Moment]:
    """Give everything on record about an item, newest first."""
    lines = History.objects.of("intervention", str(item.pk))
    moments = [Moment(line.at, "history", line.action, actor=line.actor, to_state=line.to_state) for line in lines]
    if item.person_id is not None and item.target:
        moments += [
            Moment(
                dt.datetime.fromisoformat(one.at), "try", "settled" if one.outcome == "settled" else "failed",
                code=one.outcome, error_object=one.error_object, number=one.number, duration_ms=one.duration_ms,
            )
            for one in handler().tries((item.person_id, item.target))
        ]  # fmt: skip
    return sorted(moments, key=lambda moment: moment.at, reverse=True)


def unanswered(*, at: dt.datetime, limit: int) -> list[KeyedRequest]:
    """Give keyed requests of a day that had their effect and that nobody was told of for a minute, the oldest first."""
    between = (at - dt.timedelta(days=1), at - dt.timedelta(minutes=1))
    found = KeyedRequest.objects.filter(at__range=between, body=None).defer("headers", "body")
    return list(found.order_by("at")[:limit])
