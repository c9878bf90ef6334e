"""
Named points at which a crash, an error or a delay can be asked for, to prove that none of them loses anything.

Off unless ALLOW_FAILPOINTS is set; then FAILPOINTS_FILE says what happens where, and is read again while running.
"""

import fcntl
import json
import logging
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interventions.points import POINTS

logger = logging.getLogger(__name__)


class FailpointReached(Exception):
    """A failpoint was told to raise here."""


@dataclass(frozen=True)
class _Order:
    action: str
    seconds: float = 0.0
    person_id: int | None = None
    times: int | None = None

    @classmethod
    def read(cls, written: Any, shared: dict[str, Any]) -> "_Order":
        """Read what the file says of one point; raises ValueError when it cannot be understood."""
        words: dict[str, Any] = shared | ({"action": written} if isinstance(written, str) else {**written})
        action, _, seconds = str(words.pop("action", "")).partition(":")
        person_id, times = words.pop("id", None), words.pop("times", None)
        if action not in {"kill", "raise", "hang"} or bool(seconds) != (action == "hang") or words:
            raise ValueError(written)
        if not all(number is None or type(number) is int for number in (person_id, times)):
            raise ValueError(written)
        return cls(action, float(seconds or 0), person_id, times)


class _Orders:
    """What the file says now, and how often each order was obeyed, counted beside it for all processes together."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._stamp: str | None = None
        self._orders: dict[str, _Order] = {}

    def take(self, point: str, people: Iterable[int]) -> _Order | None:
        """Give the order for this point if it is to be obeyed now, and count it before anybody can die of it."""
        order = self._order(point)
        if order is None or (order.person_id is not None and order.person_id not in set(people)):
            return None
        with self.file.with_name(f"{self.file.name}.fired").open("a+") as counts:
            # A killed process gives its lock back by itself.
            fcntl.flock(counts, fcntl.LOCK_EX)
            if order != self._order(point):
                return None  # rewritten meanwhile
            counts.seek(0)
            fired = _counted(counts.read(), self._stamp)
            if order.times is not None and fired.get(point, 0) >= order.times:
                return None
            fired[point] = fired.get(point, 0) + 1
            counts.truncate(0)
            counts.write(json.dumps({"of": self._stamp, "fired": fired}))
            counts.flush()
        return order

    def _order(self, point: str) -> _Order | None:
        try:
            stamp = _version(self.file)
        except OSError:
            self._stamp, self._orders = None, {}
            return None
        if stamp != self._stamp:
            self._orders, self._stamp = self._read(), stamp
        return self._orders.get(point)

    def _read(self) -> dict[str, _Order]:
        try:
            written = {**json.loads(self.file.read_text())}
        except (OSError, ValueError, TypeError) as error:
            logger.warning("interventions.failpoints.unreadable", extra={"reason": type(error).__name__})
            return {}
        shared = {word: written.pop(word) for word in ("id", "times") if word in written}
        orders: dict[str, _Order] = {}
        for point, words in written.items():
            try:
                orders[point] = _Order.read(words, shared)
            except (ValueError, TypeError):
                logger.warning("interventions.failpoints.not_understood", extra={"point": point})
            if point not in POINTS:
                logger.warning("interventions.failpoints.unknown_point", extra={"point": point})
        return orders


_orders: _Orders | None = None


def reach(point: str, people: Iterable[int] = ()) -> None:
    """
    Do here what FAILPOINTS_FILE says: nothing, wait, raise FailpointReached, or end this process as `kill -9` does.

    `people` are the persons concerned, for orders that name one. While failpoints are off this is one test.
    """
    if _orders is not None:
        _obey(_orders, point, people)


def allow(file: Path | None) -> None:
    """Let the file say what happens at the points of this process; None: nothing does."""
    global _orders
    _orders = None if file is None else _Orders(file)


def fired(file: Path) -> dict[str, int]:
    """Tell how often each order of the file was obeyed, in all processes, since the file was written."""
    try:
        return _counted(file.with_name(f"{file.name}.fired").read_text(), _version(file))
    except FileNotFoundError:
        return {}


def _obey(orders: _Orders, point: str, people: Iterable[int]) -> None:
    try:
        order = orders.take(point, people)
    except OSError as error:
        # What cannot be counted is not obeyed: `times` is a promise.
        logger.warning("interventions.failpoints.uncounted", extra={"reason": type(error).__name__})
        return
    if order is None:
        return
    logger.warning("interventions.failpoints.reached", extra={"point": point, "action": order.action})
    if order.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if order.action == "raise":
        raise FailpointReached(point)
    time.sleep(order.seconds)


def _version(file: Path) -> str:
    found = file.stat()
    return f"{found.st_mtime_ns}-{found.st_size}-{found.st_ino}"


def _counted(text: str, stamp: str | None) -> dict[str, int]:
    """Read the counts; those of another version of the file do not count."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return dict(found["fired"]) if stamp == found["of"] else {}
