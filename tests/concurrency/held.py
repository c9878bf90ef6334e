"""A worker in a thread that is held at a failpoint while others do what they like."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.db import connections

from interventions.failpoints import FailpointReached
from sync import delivery


class Gate:
    """Stands where the file of failpoints stands: holds one worker at a point until it may go on, or must die."""

    def __init__(self, point: str) -> None:
        self.point: str | None = point
        self.worker: threading.Thread | None = None
        self.is_reached, self.may_go, self.must_die = threading.Event(), threading.Event(), False

    def take(self, point: str, people: Iterable[int]) -> Any:
        """Wait here, if it is the worker and its point."""
        if threading.current_thread() is self.worker and point == self.point:
            self.point = None
            self.is_reached.set()
            self.may_go.wait(30)
            if self.must_die:
                raise FailpointReached(point)


@dataclass
class Worker:
    """A worker in a thread with a connection of its own, perhaps held at its gate."""

    gate: Gate
    pid: int = 0

    def start(self) -> None:
        """Drain until there is nothing left, or the gate holds it."""
        pool = ThreadPoolExecutor(1, thread_name_prefix="worker")
        self.work = pool.submit(self._drain)
        pool.shutdown(wait=False)

    def _drain(self) -> None:
        self.gate.worker = threading.current_thread()
        try:
            connections["default"].ensure_connection()
            self.pid = connections["default"].connection.info.backend_pid
            delivery.drain(batches=2)
        finally:
            connections.close_all()

    def has_stopped(self) -> bool:
        """Whether it is done, or is held."""
        return self.work.done() or self.gate.is_reached.is_set()

    def end(self, *, must_die: bool) -> None:
        """Let it go on, or die in the middle of its transaction; raises what it raised besides."""
        self.gate.must_die = must_die
        self.gate.may_go.set()
        with suppress(FailpointReached):
            self.work.result(30)


def only_when(holds: Callable[[Any], bool]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """
    Let a step be none where it makes no sense.

    A precondition would do that too, but whose statement fails depends on the machine's load, and Hypothesis refuses to go
    on where the steps to choose from differ between two plays of one beginning.
    """

    def sensible(step: Callable[..., None]) -> Callable[..., None]:
        @wraps(step)
        def tried(self: Any, *given: Any, **words: Any) -> None:
            if holds(self):
                step(self, *given, **words)

        return tried

    return sensible
