"""Reads in a thread of its own, so that whoever asks waits no longer than they want: a frozen server answers nobody."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
Note = Callable[[str, T], None]

# A round that takes longer hangs for good, as behind a cable that was cut: one more is begun beside it, and no third.
HANGS_SECONDS = 60.0


class Round(Generic[T]):
    """One look at several things; what was read of it so far can be had at any time."""

    def __init__(self, name: str, look: Callable[[Note[T]], None]) -> None:
        self.began = time.monotonic()
        self._noted: dict[str, tuple[float, T]] = {}
        self._thread = threading.Thread(target=look, args=(self._note,), name=name, daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes."""
        return not self._thread.is_alive()

    def found(self, *, wait: float, kept: float = 0.0) -> dict[str, T]:
        """
        Give what was read, by name, `wait` seconds after it began at the latest. What is missing is not known.

        Of a round that hangs, what was read longer ago than that is not known any more either.
        """
        self._thread.join(max(0.0, self.began + wait - time.monotonic()))
        since = time.monotonic() - max(wait, kept) - 1
        return {name: value for name, (at, value) in list(self._noted.items()) if at >= since}

    def _note(self, name: str, value: T) -> None:
        self._noted[name] = (time.monotonic(), value)


class Lookout(Generic[T]):
    """
    Looks, when asked, at several things one after another; one round serves all who ask meanwhile.

    `look` gets a function to note each thing with as soon as it is read; what it does not note could not be read.
    """

    def __init__(self, name: str, look: Callable[[Note[T]], None]) -> None:
        self._name, self._look = name, look
        self._lock = threading.Lock()
        self._round: Round[T] | None = None
        self._hanging: Round[T] | None = None

    def look(self, *, kept: float = 0.0) -> Round[T]:
        """Give the round that is under way, or that began no longer than `kept` seconds ago, or a new one."""
        with self._lock:
            now, current = time.monotonic(), self._round
            if current is None or (current.is_over and now - current.began > kept) or self._is_given_up(current, now):
                current = self._round = Round(self._name, self._look)
            return current

    def _is_given_up(self, current: Round[T], now: float) -> bool:
        if current.is_over or now - current.began < HANGS_SECONDS:
            return False
        if self._hanging is not None and not self._hanging.is_over:
            return False
        self._hanging = current
        return True
