"""Calls that wait to be made: asked for once, aged so that none waits for ever, taken by one worker at a time."""

import datetime as dt
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from django.db import connection
from django.db.models import Count, F, Min, Q, QuerySet

from sync.models import Errand, ErrandState


class Priority(IntEnum):
    """How long something waits for what came after it and matters more."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


# Something low that is half an hour older than something high goes first: priorities give a start, not a right of way.
WAITS = {
    Priority.HIGH: dt.timedelta(),
    Priority.NORMAL: dt.timedelta(minutes=5),
    Priority.LOW: dt.timedelta(minutes=30),
}


@dataclass(frozen=True)
class Kind:
    """
    A kind of errand. `carry` makes the call, under the errand's key, from the facts as they are then.

    It raises what the call raises, and `Pointless` where there is nothing to be done any more. `most` may wait at once.
    """

    name: str
    service: str
    carry: Callable[[Errand], None]
    lifetime: dt.timedelta = dt.timedelta(days=1)
    most: int = 10_000


@dataclass(frozen=True)
class Wish:
    """What is to be queued: ids and codes alone. Of one key there is one errand, however often it is wished for."""

    kind: str
    key: str
    payload: Mapping[str, int | str] = field(default_factory=dict)
    person_id: int | None = None
    priority: Priority = Priority.NORMAL


class UnknownErrand(Exception):
    """Nobody declared how an errand of this kind is carried out."""


class Pointless(Exception):
    """There is nothing to be done any more: what it was about is gone, or was done in another way."""


_kinds: dict[str, Kind] = {}


def declare(kind: Kind) -> Kind:
    """Let errands of this kind be queued; called where modules are loaded, in web and workers alike."""
    _kinds[kind.name] = kind
    return kind


def kinds() -> dict[str, Kind]:
    """Give the kinds there are, by name."""
    return dict(sorted(_kinds.items()))


def queue(wish: Wish, *, at: dt.datetime, until: dt.datetime | None = None) -> Errand | None:
    """
    Queue a call, in the caller's transaction where there is one; None: too many of the kind wait already.

    Gives the errand that is there where the key was used before. After `until` it is worthless. Raises UnknownErrand.
    """
    kind = _kinds.get(wish.kind)
    if kind is None:
        raise UnknownErrand(f"Nobody declared how {wish.kind} is carried out: sync.errands.declare().")
    if found := Errand.objects.filter(key=wish.key).first():
        return found
    if Errand.objects.filter(kind=kind.name, state=ErrandState.WAITING)[: kind.most].count() >= kind.most:
        return None
    Errand.objects.bulk_create(
        [Errand(
            kind=kind.name, key=wish.key, person_id=wish.person_id, payload=dict(wish.payload), priority=wish.priority,
            rank_at=at + WAITS[wish.priority], made_at=at, until=until or at + kind.lifetime, next_attempt_at=at,
        )],
        ignore_conflicts=True,
    )  # fmt: skip
    return Errand.objects.get(key=wish.key)


def claim(*, but: Collection[str], seconds: float) -> Errand | None:
    """
    Take the next errand for so long, leaving out some kinds; None: nothing is to be done now.

    By PostgreSQL's clock, in a transaction of its own: whoever dies leaves it to be taken up again.
    """
    lease = uuid.uuid4()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE sync_errand SET lease = %s, attempts = attempts + 1,"
            " next_attempt_at = clock_timestamp() + make_interval(secs => %s) WHERE id = (SELECT id FROM sync_errand"
            " WHERE state = 'waiting' AND next_attempt_at <= clock_timestamp() AND kind <> ALL(%s)"
            " ORDER BY rank_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)",
            [lease, seconds, list(but)],
        )
    return Errand.objects.filter(lease=lease).first()


def finish(errand: Errand, state: ErrandState, *, code: str = "", at: dt.datetime) -> bool:
    """Say what became of a claimed errand; False: somebody else has it by now, and says so."""
    return _settled(errand, state=state, code=code, finished_at=at, next_attempt_at=None)


def put_off(errand: Errand, *, code: str, counts: bool, next_attempt_at: dt.datetime) -> bool:
    """Let a claimed errand wait for its next try; False: somebody else has it by now."""
    attempts = F("attempts") if counts else F("attempts") - 1
    return _settled(errand, code=code, attempts=attempts, next_attempt_at=next_attempt_at)


def among(*, state: str = "", person_id: int | None = None, kind: str = "") -> QuerySet[Errand]:
    """Give the errands of a state, of a person or of a kind, where they are named; unordered."""
    given = {"state": state, "person_id": person_id, "kind": kind}
    return Errand.objects.filter(**{name: word for name, word in given.items() if word not in ("", None)})


def clear_finished(*, before: dt.datetime | None = None) -> int:
    """Delete the record of errands that are over, or of those that were over before; gives how many."""
    over = Errand.objects.exclude(state=ErrandState.WAITING)
    return (over if before is None else over.filter(finished_at__lt=before)).delete()[0]


def statistics() -> list[dict[str, Any]]:
    """Give for each kind how many are in each state, and since when the oldest waits; also of kinds nobody declares."""
    counts = {word.value: Count("pk", filter=Q(state=word)) for word in ErrandState}
    oldest = Min("made_at", filter=Q(state=ErrandState.WAITING))
    found = {row["kind"]: row for row in Errand.objects.values("kind").annotate(**counts, oldest=oldest)}
    empty = dict.fromkeys(counts, 0) | {"oldest": None}
    return [
        {"kind": name, **empty, **found.get(name, {}), "most": _kinds[name].most if name in _kinds else None}
        for name in sorted(found.keys() | _kinds.keys())
    ]


def _settled(errand: Errand, **changes: Any) -> bool:
    return bool(Errand.objects.filter(pk=errand.pk, lease=errand.lease).update(lease=None, **changes))
