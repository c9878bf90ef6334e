"""Who has a stream open, what each may hear, and what is still to be sent to them; all of it in one event loop."""

import asyncio
import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from interventions.events import Event
from therapists.accounts.callers import Caller
from therapists.topics import OWN, open_to

# Events that a stream may go on from, and how many of them it is sent then; beyond that it is told to look for itself.
REMEMBERED, MOST_REPLAYED = 20_000, 1_000
# What waits for somebody who reads slowly; beyond that it is dropped, and they are told to look for themselves.
MOST_WAITING = 200
BEAT = b": keepwell\n\n"


@dataclass(frozen=True)
class Filter:
    """What a stream wants to hear of; None: everything that it may."""

    topics: frozenset[str] | None = None
    person_id: int | None = None
    subject: str | None = None

    def takes(self, event: Event) -> bool:
        """Tell whether an event is wanted. One about many is about everybody."""
        if self.topics is not None and event.topic not in self.topics:
            return False
        if event.subject is None:
            return True
        if self.subject is not None and event.subject != self.subject:
            return False
        return self.person_id is None or (event.people is not None and self.person_id in event.people)


@dataclass(eq=False)
class Stream:
    """One open stream: whose, by which session, and what waits to be sent."""

    key: str
    caller: Caller
    wanted: Filter
    checked_at: float
    ends_at: float
    waiting: deque[bytes] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False

    def __post_init__(self) -> None:
        self.open_to = open_to(self.caller.permissions)

    def hears(self, event: Event) -> bool:
        """Tell whether an event is sent here: staff hear what their permissions let them, everybody what is their own."""
        is_own = event.topic in OWN and (event.subject is None or self.caller.person_id in (event.people or ()))
        return (is_own or event.topic in self.open_to) and self.wanted.takes(event)

    def put(self, frame: bytes) -> None:
        """Add something to be sent."""
        self.waiting.append(frame)
        self.wake.set()

    def end(self) -> None:
        """Send what waits, and close."""
        self.is_over = True
        self.wake.set()


@lru_cache(maxsize=512)
def frame(event: Event) -> bytes:
    """Give an event as it is sent."""
    said = {"topic": event.topic, "id": event.subject, "revision": event.revision}
    return f"id: {event.id}\ndata: {json.dumps(said)}\n\n".encode()


def told(word: str, last: int, **said: object) -> bytes:
    """Give a message about the stream itself, from which it may go on too."""
    return f"event: {word}\nid: {last}\ndata: {json.dumps({'topic': word, **said})}\n\n".encode()


class Hub:
    """Every open stream of this process, and the events that were told lately."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.streams: set[Stream] = set()
        self.of_person: Counter[int] = Counter()
        self.events: deque[Event] = deque(maxlen=REMEMBERED)
        # Whoever has heard everything up to `floor` can go on from what is remembered.
        self.floor = self.last = 0
        self.is_closing = False

    def begin(self, events: Sequence[Event], newest: int) -> None:
        """Take over what is on record; where that does not follow what was told before, everybody looks for themselves."""
        if events[0].id <= self.last <= newest if events else newest == self.last:
            self.tell(events)
            return
        self.events.clear()
        self.events.extend(events)
        self.last, self.floor = newest, events[0].id if events else newest
        for stream in self.streams:
            stream.put(told("resync", self.last))

    def tell(self, events: Iterable[Event]) -> None:
        """Send events to whoever hears them; those of before are left out."""
        for event in events:
            if event.id <= self.last:
                continue
            if len(self.events) == REMEMBERED:
                self.floor = self.events[0].id
            self.events.append(event)
            self.last = event.id
            for stream in self.streams:
                if stream.hears(event):
                    self._send(stream, event)

    def join(self, stream: Stream, since: int | None) -> None:
        """Add a stream and send what it missed since an event; where that is not known any more, it looks for itself."""
        self.streams.add(stream)
        self.of_person[stream.caller.person_id] += 1
        missed = None if since is None else self._missed(stream, since)
        stream.put(told("ready", self.last if missed is None else (since or 0), id=str(stream.caller.person_id)))
        if since is not None and missed is None:
            stream.put(told("resync", self.last))
        for event in missed or ():
            stream.put(frame(event))

    def leave(self, stream: Stream) -> None:
        """Forget a stream."""
        self.streams.discard(stream)
        self.of_person[stream.caller.person_id] -= 1
        if not self.of_person[stream.caller.person_id]:
            del self.of_person[stream.caller.person_id]

    def check(self, keys: Iterable[str], found: Mapping[str, Caller], at: float) -> None:
        """End the streams of these sessions that ended, or may not do what they might; what was read at a moment counts from it."""
        asked = set(keys)
        for stream in self.streams:
            if stream.key in asked:
                if found.get(stream.key) == stream.caller:
                    stream.checked_at = at
                else:
                    stream.end()

    def end_unchecked(self, seconds: float) -> None:
        """End what has had its time, and whose permission nobody could read for so long."""
        now = self.clock()
        for stream in self.streams:
            if now - stream.checked_at > seconds or now > stream.ends_at:
                stream.end()

    def close(self) -> None:
        """End every stream, and take no more."""
        self.is_closing = True
        for stream in self.streams:
            stream.end()

    def _send(self, stream: Stream, event: Event) -> None:
        if len(stream.waiting) >= MOST_WAITING:
            stream.waiting.clear()
            stream.waiting.append(told("resync", event.id))
        else:
            stream.put(frame(event))

    def _missed(self, stream: Stream, since: int) -> list[Event] | None:
        """List what a stream missed; None: more than is known, or than is worth sending."""
        if not self.floor <= since <= self.last:
            return None
        # Newest first, as far as it goes: whoever comes back was away for a moment.
        missed: list[Event] = []
        for event in reversed(self.events):
            if event.id <= since or len(missed) > MOST_REPLAYED:
                break
            if stream.hears(event):
                missed.append(event)
        return missed[::-1] if len(missed) <= MOST_REPLAYED else None
