"""What a successful write answers: how the copies stand now, in numbers and in a sentence for people."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import Counter
from rest_framework.response import Response

WORDS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
UNREAD = "Whether every place is up to date cannot be read right now."
WRITES = Counter("keepwell_writes", "Saved changes of facts, by how their copies stood at the answer.", ["copies"])
# States from which nothing moves by itself soon.
STUCK = frozenset({"blocked"})
# Nothing is tried until the place works again, or until staff switch it on.
WAITING = frozenset({"parked"})


@dataclass(frozen=True)
class TargetStanding:
    """One place that applies."""

    target: str
    state: str
    is_synced: bool


@dataclass(frozen=True)
class Standing:
    """How a person's copies stood when they were read after the commit; `is_known` False: they could not be read."""

    targets: Sequence[TargetStanding] = ()
    is_known: bool = True
    warnings: Sequence[str] = field(default=())

    @property
    def synced(self) -> int:
        """How many places are up to date."""
        return sum(t.is_synced for t in self.targets)

    @property
    def total(self) -> int:
        """How many places apply."""
        return len(self.targets)

    @property
    def is_degraded(self) -> bool:
        """Whether something is behind, or might be."""
        return not self.is_known or self.synced < self.total

    def as_json(self) -> dict[str, Any] | None:
        """Give `syncStatus`: null when it is not known, for a made-up number would be worse than none."""
        if not self.is_known:
            return None
        targets = [{"target": t.target, "state": t.state} for t in self.targets]
        return {"synced": self.synced, "total": self.total, "targets": targets}


# Whoever can tell how a person's copies stand; `config.urls` passes it down. Never raises.
ReadStanding = Callable[[int | None], Standing]


def sentence(standing: Standing) -> str:
    """Say how the copies stand."""
    if not standing.is_known:
        return UNREAD
    synced, total = standing.synced, standing.total
    if synced == total:
        return "Everything is up to date."
    if stuck := sum(t.state in STUCK for t in standing.targets if not t.is_synced):
        return _stuck(synced, total, stuck)
    if total == 1:
        return "The one other place is not up to date yet; it follows by itself."
    if not synced:
        return f"None of {_word(total)} places is up to date yet; they follow by themselves."
    verb = "is" if synced == 1 else "are"
    return f"{_word(synced).capitalize()} of {_word(total)} places {verb} up to date; the rest follow by themselves."


def _stuck(synced: int, total: int, stuck: int) -> str:
    """Say it where something does not follow by itself: whoever waits for it would wait for staff."""
    if total == 1:
        return "The one other place is not up to date, and does not follow by itself: our staff have been told."
    verb = "is" if synced == 1 else "are"
    needs = f"{_word(stuck)} {'needs' if stuck == 1 else 'need'} our staff, who have been told"
    rest = "." if stuck == total - synced else ", and the rest follow by themselves."
    return f"{_word(synced).capitalize()} of {_word(total)} places {verb} up to date; {needs}{rest}"


def answered(
    standing: Standing, *, data: object, revision: int | None = None, what: str = "Saved.", warnings: Sequence[str] = ()
) -> Response:
    """Give the answer of a write that was saved: 200, whatever became of the copies."""
    WRITES.labels("unknown" if not standing.is_known else "behind" if standing.is_degraded else "equal").inc()
    return _composed(standing, data=data, revision=revision, what=what, warnings=warnings)


def _composed(
    standing: Standing, *, data: object, revision: int | None = None, what: str, warnings: Sequence[str] = ()
) -> Response:
    return Response(
        {
            "success": True,
            "message": f"{what} {sentence(standing)}",
            "degraded": standing.is_degraded,
            "warnings": [*warnings, *_warnings(standing)],
            "revision": revision,
            "syncStatus": standing.as_json(),
            "data": data,
        }
    )


def exact(*, data: object, what: str, status: int = 200) -> Response:
    """Give the answer of an operation that has no copies: it happened, and nothing is to follow."""
    response = _composed(Standing(), data=data, what=what)
    response.data["message"], response.status_code = what, status
    return response


def _warnings(standing: Standing) -> list[str]:
    if not standing.is_known:
        return [UNREAD, *standing.warnings]
    behind = [t for t in standing.targets if not t.is_synced]
    lines = [f"{t.target}: not up to date yet." for t in behind if t.state not in STUCK | WAITING]
    lines += [
        f"{t.target}: waits until that place can be written again; nothing is lost."
        for t in behind
        if t.state in WAITING
    ]
    lines += [
        f"{t.target}: cannot be brought up to date at the moment; our staff have been told."
        for t in behind
        if t.state in STUCK
    ]
    return [*lines, *standing.warnings]


def _word(number: int) -> str:
    return WORDS[number] if number < len(WORDS) else str(number)
