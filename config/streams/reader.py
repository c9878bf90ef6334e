"""The one thread that asks PostgreSQL, over one connection: what is new, and who everybody is."""

import asyncio
import logging
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from config.streams.hub import REMEMBERED, Hub
from interventions import events
from interventions.cleaning import code
from sync import realtime
from sync.pulse import STREAMS, Pulse
from therapists.accounts.callers import Caller, callers
from therapists.topics import PERMISSIONS

logger = logging.getLogger(__name__)

# How often it is asked whether anybody wrote, while somebody listens; whoever writes need not ring, which would cost each write.
ASK_SECONDS = 0.015
# How often it is looked though nobody seems to have written, and how long one that is not quick rests, by what it took.
LOOK_SECONDS, QUICK_SECONDS, SHARE = 1.0, 0.05, 5
# Sessions that are looked up at once: news do not wait for more of them.
AT_ONCE, NEWS_AT_ONCE = 100, 2_000
AGAIN_SECONDS = (0.2, 2.0)


class Unavailable(Exception):
    """PostgreSQL does not answer, so nobody can be let in."""


class Reader(threading.Thread):
    """Reads what is new for the hub, and who callers are. While PostgreSQL is away it tries again, for as long as it takes."""

    def __init__(self, hub: Hub, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name="reader", daemon=True)
        self.hub, self.loop = hub, loop
        self.asked: deque[tuple[str, asyncio.Future[Caller | None]]] = deque()
        self.answered_at = 0.0
        self.is_stopping = self.is_rung = False
        self.told = 0
        self.numbers: tuple[int, ...] = ()
        self.again_at, self.patience = 0.0, ASK_SECONDS
        self.look_at = self.soonest = self.check_at = 0.0
        self.unchecked: deque[str] = deque()
        self.pulse, self.own_name = Pulse(is_guest=True), f"{socket.gethostname()}:{os.getpid()}"
        self._woken, self._wake = socket.socketpair()
        for end in (self._woken, self._wake):
            end.setblocking(False)

    async def identify(self, key: str, *, seconds: float) -> Caller | None:
        """Tell whose session or token it is; None: nobody's. Raises Unavailable where PostgreSQL does not say so in time."""
        future: asyncio.Future[Caller | None] = self.loop.create_future()
        self.asked.append((key, future))
        self._stir()
        try:
            return await asyncio.wait_for(future, seconds)
        except TimeoutError as error:
            raise Unavailable from error

    def stop(self) -> None:
        """End soon."""
        self.is_stopping = True
        self._stir()

    def run(self) -> None:
        """Read until it is told to stop."""
        wait = AGAIN_SECONDS[0]
        while not self.is_stopping:
            try:
                self._begin()
                while not self.is_stopping:
                    self._turn()
                    wait = AGAIN_SECONDS[0]
            except (DatabaseError, InterfaceError) as error:
                logger.warning("streams.reader.away", extra={"reason": type(error).__name__, "code": code(error)})
                connection.close()
                while self.asked:
                    self._hand_over(_answer, self.asked.popleft()[1], None, Unavailable())
                self._pause(wait)
                wait = min(wait * 2, AGAIN_SECONDS[1])
        self.pulse.withdraw(STREAMS, self.own_name)
        connection.close()

    def _begin(self) -> None:
        events.listen()
        self._raw.add_notify_handler(lambda _: self._note())
        # It listens: what is appended from now on is told, and what was before is read here.
        recent, self.told = events.recent(limit=REMEMBERED)
        self._hand_over(self.hub.begin, recent, self.told)
        self.unchecked.clear()
        self.look_at = self.soonest = self.check_at = self.again_at = 0.0
        self.answered_at = time.monotonic()

    def _turn(self) -> None:
        """Do what is due, a little of each, and wait for more."""
        self._admit()
        self.pulse.give(STREAMS, self.own_name, load=len(self.hub.streams))
        if time.monotonic() >= self._due:
            self._look()
        if time.monotonic() >= self.check_at:
            self.check_at = time.monotonic() + settings.STREAMS_CHECK_SECONDS
            self.unchecked.extend({stream.key for stream in tuple(self.hub.streams)} - set(self.unchecked))
        if self.unchecked:
            self._check([self.unchecked.popleft() for _ in range(min(AT_ONCE, len(self.unchecked)))])
        self._wait(0 if self.unchecked or self.asked else min(self._due, self.check_at) - time.monotonic())

    @property
    def _due(self) -> float:
        """When to look next."""
        return self.soonest if self.is_rung or self.hub.streams else self.look_at

    def _look(self) -> None:
        began, numbers = time.monotonic(), realtime.numbers()
        if numbers == self.numbers and not self.is_rung and began < self.again_at:
            self.soonest = began + ASK_SECONDS
            return
        self.is_rung, before = False, self.told
        is_behind = realtime.look()
        self._pass_on()
        self.answered_at = now = time.monotonic()
        # A number that was given and cannot be seen yet will be in a moment, or in a long one.
        is_new = numbers != self.numbers and self.told == before
        self.patience = ASK_SECONDS if is_new else min(LOOK_SECONDS, self.patience * 4)
        self.again_at = now + (self.patience if is_behind else LOOK_SECONDS)
        # A look that takes long, as where no index knows of the numbers, leaves time for other things.
        self.soonest = now + max(ASK_SECONDS, (now - began - QUICK_SECONDS) * SHARE)
        self.look_at = max(self.soonest, self.again_at)
        self.numbers = numbers

    def _pass_on(self) -> None:
        is_more = True
        while is_more:
            news = events.after(self.told, limit=NEWS_AT_ONCE)
            is_more = len(news) == NEWS_AT_ONCE
            if news:
                self._hand_over(self.hub.tell, news)
                self.told = news[-1].id

    def _check(self, keys: list[str]) -> None:
        """Read anew who they are whose streams are open."""
        at = self.hub.clock()
        self._hand_over(self.hub.check, keys, callers(keys, permissions=PERMISSIONS), at)

    def _admit(self) -> None:
        """Tell whoever waits to be let in who they are, many at once."""
        while self.asked and (some := [self.asked.popleft() for _ in range(min(AT_ONCE, len(self.asked)))]):
            try:
                found = callers({key for key, _ in some}, permissions=PERMISSIONS)
            except (DatabaseError, InterfaceError):
                self.asked.extend(some)
                raise
            for key, future in some:
                self._hand_over(_answer, future, found.get(key), None)

    def _wait(self, seconds: float) -> None:
        """Wait for a ring, for somebody to be let in, or for so long."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            selector.register(self._raw.fileno(), selectors.EVENT_READ)
            ready = {key.fd for key, _ in selector.select(max(0.0, seconds))}
        self._calm()
        if self._raw.fileno() in ready:
            with connection.wrap_database_errors:
                self._raw.pgconn.consume_input()
                while self._raw.pgconn.notifies():
                    self._note()

    def _note(self) -> None:
        self.is_rung = True

    @property
    def _raw(self) -> Any:
        return connection.connection

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.is_stopping and (left := until - time.monotonic()) > 0:
            with selectors.DefaultSelector() as selector:
                selector.register(self._woken, selectors.EVENT_READ)
                selector.select(left)
            self._calm()

    def _stir(self) -> None:
        with suppress(BlockingIOError):  # it is stirred already
            self._wake.send(b"\0")

    def _calm(self) -> None:
        with suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass

    def _hand_over(self, take: Callable[..., object], *words: object) -> None:
        with suppress(RuntimeError):  # the loop has ended before us
            self.loop.call_soon_threadsafe(take, *words)


def _answer(future: "asyncio.Future[Caller | None]", caller: Caller | None, error: Unavailable | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(caller)
    else:
        future.set_exception(error)
