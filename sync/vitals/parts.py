"""One part of what must work: how it is in a word and a sentence, and the figures that say so."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """How a part is. Nobody knows is as bad as bad, and never a zero."""

    GOOD = "good"
    WORRYING = "worrying"
    BAD = "bad"
    UNKNOWN = "unknown"


# In the order in which they are told.
TITLES = {
    "database": "PostgreSQL",
    "durability": "Durability",
    "replicas": "Replicas",
    "net": "Safety net",
    "owed": "What is owed",
    "targets": "Targets",
    "items": "Interventions",
    "consistency": "Consistency",
    "signs": "Workers, beat, streams",
    "failures": "Failures",
    "keys": "Idempotency keys",
    "second_bests": "Second bests",
    "queues": "Queues",
    "spool": "Spool",
    "disks": "Disks",
}


@dataclass(frozen=True)
class Part:
    """A part as it was read. Figures hold names and numbers, never a person's data, and are JSON as they stand."""

    name: str
    verdict: Verdict
    says: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What people call it."""
        return TITLES[self.name]

    @property
    def is_known(self) -> bool:
        """Whether it could be read."""
        return self.verdict is not Verdict.UNKNOWN


def unknown(name: str, says: str = "cannot be read") -> Part:
    """Give a part that nobody could read."""
    return Part(name, Verdict.UNKNOWN, says)


def worst(*found: tuple[bool, Verdict]) -> Verdict:
    """Give the worst verdict whose condition holds; good where none does."""
    order = list(Verdict)
    return max((verdict for holds, verdict in found if holds), key=order.index, default=Verdict.GOOD)


def counted(number: int, word: str) -> str:
    """Say a number of things: "1 row", "2 rows"."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def lasting(seconds: float) -> str:
    """Say how long, in the largest unit."""
    for size, word in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            return counted(int(seconds // size), word)
    return counted(max(0, int(seconds)), "second")
