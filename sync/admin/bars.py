"""Numbers by the hour as bars, drawn on the server: no script, and every bar has a title."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils import timezone

from interventions import moments

# Units of the drawing; the page scales it.
STEP, GAP, HEIGHT = 10, 2, 60
LEAST_SEEN = 2


@dataclass(frozen=True)
class Bar:
    """One hour. A number above zero is always high enough to be seen."""

    x: int
    y: int
    height: int
    hour: str
    number: int


@dataclass(frozen=True)
class Chart:
    """A row of bars with what is said about it."""

    title: str
    look: str
    bars: tuple[Bar, ...]
    total: int
    most: int
    zone: str

    @property
    def width(self) -> int:
        """The drawing's width."""
        return len(self.bars) * STEP

    @property
    def outline(self) -> str:
        """Say the whole in one sentence, for whoever does not see the bars."""
        if not self.total:
            return f"{self.title}: none in the last {len(self.bars)} hours."
        top = max(self.bars, key=lambda bar: bar.number)
        return f"{self.title}: {self.total} in the last {len(self.bars)} hours, most in the hour from {top.hour}, {top.number}."


def chart(title: str, look: str, counts: Sequence[tuple[dt.datetime, int]]) -> Chart:
    """Draw the counts, oldest first."""
    most = max((number for _, number in counts), default=0)
    bars = tuple(_bar(place, at, number, most) for place, (at, number) in enumerate(counts))
    zone = moments.zone_of(timezone.localtime(counts[-1][0])) if counts else ""
    return Chart(title, look, bars, sum(number for _, number in counts), most, zone)


def _bar(place: int, at: dt.datetime, number: int, most: int) -> Bar:
    height = max(round(number / most * HEIGHT), LEAST_SEEN) if number else 0
    return Bar(place * STEP + GAP // 2, HEIGHT - height, height, timezone.localtime(at).strftime("%H:%M"), number)
