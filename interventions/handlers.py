"""What the desk needs from whoever can retry: registered at start-up, so that this app knows nobody."""

import datetime as dt
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

Entity = tuple[int, str]  # person id, target
# Whoever writes SQL may name an actor as they like: what can be no id is none.
_PERSON = re.compile(r"user:[0-9]{1,18}")


@dataclass(frozen=True)
class Cell:
    """One fact in one place. `text` None: there is nothing, no row (`is_absent`), or no way to read it (`is_unread`)."""

    place: str
    text: str | None
    differs: bool = False
    is_source: bool = False
    is_absent: bool = False
    is_unread: bool = False


@dataclass(frozen=True)
class FactRow:
    """One fact in every place that repeats it; all cells of a table come in the same order of places."""

    fact: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Comparison:
    """Both sides of one target, read at one moment. `digest` pins what was compared without holding it."""

    rows: tuple[FactRow, ...]
    is_equal: bool
    digest: str
    # What a retry would write, in one sentence.
    outlook: str = ""


@dataclass(frozen=True)
class Try:
    """One recorded attempt, for the timeline. `at` is ISO 8601 in UTC; `error_object` a table, column or constraint."""

    at: str
    number: int
    outcome: str
    error_object: str
    duration_ms: int


@dataclass(frozen=True)
class Replaced:
    """What somebody wrote into a copy before the source's value took its place. `why_not` empty: it may be adopted."""

    value_id: int
    person_id: int
    target: str
    fact: str
    text: str | None
    at: str
    written_by: str
    why_not: str = ""


@dataclass(frozen=True)
class Lag:
    """
    Something that is behind for longer than it should be, whoever it is about.

    `name` tells it from others and never changes; `says` and `advice` are sentences without a person; `path` is the
    page that shows it. `is_urgent`: minutes matter.
    """

    name: str
    says: str
    advice: str
    path: str
    since: dt.datetime
    people: int
    is_urgent: bool = False


@dataclass(frozen=True)
class Work:
    """A run of whoever retries. `title`, `state` and the outcomes in `counts` are words; `path` is its page."""

    title: str
    state: str
    counts: tuple[tuple[str, int], ...]
    path: str


class NotAdoptable(Exception):
    """The value cannot become the source's; the message says why, in words for staff and without the value."""


class Handler(Protocol):
    """Brings targets in line, compares them and names them. Every method is set-based."""

    def retry(self, entities: Collection[Entity]) -> None:
        """Make the targets due now; durable with the surrounding transaction. Waking a worker is the caller's."""
        ...

    def wake(self) -> None:
        """Ring the workers; never raises, never waits."""
        ...

    def hold(self, entities: Collection[Entity]) -> None:
        """Let nobody bring the targets in line until the surrounding transaction ends; waits for who is at it."""
        ...

    def compare(self, entities: Collection[Entity]) -> dict[Entity, Comparison]:
        """Read both sides now."""
        ...

    def accept(self, entities: Collection[Entity]) -> None:
        """Leave the targets as they are: nothing tries to bring them in line until either side changes."""
        ...

    def label(self, person_ids: Collection[int]) -> dict[int, str]:
        """Give the name of each person that exists."""
        ...

    def staff(self, person_ids: Collection[int]) -> Collection[int]:
        """Give those of the persons who may work at the desk now."""
        ...

    def find(self, words: str, *, among: Collection[int]) -> Collection[int]:
        """Give whoever has exactly that address, and which of these persons have a name or address that contains it."""
        ...

    def replaced(self, entities: Collection[Entity]) -> list[Replaced]:
        """List what was written into these copies and replaced, newest first, at most 50."""
        ...

    def adopt(self, value_id: int, fact: str) -> Entity:
        """
        Write a replaced value to its source, as the person could have, and forget it here; give whose it was and where.

        Durable with the surrounding transaction. Raises NotAdoptable.
        """
        ...

    def tries(self, entity: Entity) -> list[Try]:
        """List the recorded attempts, newest first, at most 50."""
        ...

    def next_tries(self, entities: Collection[Entity]) -> dict[Entity, str]:
        """Give the ISO 8601 time of each planned next try; entities without a plan are left out."""
        ...


_handlers: list[Handler] = []
_pages: dict[str, Callable[[str], str]] = {}
_lags: list[Callable[[], Sequence[Lag]]] = []
_works: list[Callable[[dt.datetime], Sequence[Work]]] = []


def register_page(operation: str, address: Callable[[str], str]) -> None:
    """Name the page where a person decides about items of an operation: `address` gives its URL for an entity."""
    _pages[operation] = address


def page_of(operation: str, entity_id: str | None) -> str | None:
    """Give the address where a person decides about an item; None: on the item's own page."""
    return _pages[operation](entity_id) if operation in _pages and entity_id else None


def register_lags(read: Callable[[], Sequence[Lag]]) -> None:
    """Say who knows what is behind; `read` gives what is now, and may raise what reading raises."""
    _lags[:] = [read]


def lags() -> list[Lag]:
    """Give what is behind now, as whoever knows it tells."""
    return [lag for read in _lags for lag in read()]


def register_works(read: Callable[[dt.datetime], Sequence[Work]]) -> None:
    """Say who knows of runs beside bulk retries; `read` gives those that began, moved or ended since a moment."""
    _works[:] = [read]


def works(since: dt.datetime) -> list[Work]:
    """Give the runs since then, newest first, as whoever has them tells."""
    return [work for read in _works for work in read(since)]


def register(handler: Handler) -> None:
    """Make this the handler of every item that names a person and a target."""
    _handlers[:] = [handler]


def names(actors: Collection[str]) -> dict[str, str]:
    """Name those of the actors that are persons of ours, `user:ID`; whoever is not there any more is left out."""
    ids = _ids(actors)
    found = handler().label(set(ids.values())) if ids else {}
    return {actor: found[pk] for actor, pk in ids.items() if pk in found}


def at_desk(actors: Collection[str]) -> set[str]:
    """Give those of the actors that are persons who may work at the desk now."""
    ids = _ids(actors)
    found = set(handler().staff(set(ids.values()))) if ids else set[int]()
    return {actor for actor, pk in ids.items() if pk in found}


def handler() -> Handler:
    """Give the registered handler; raises LookupError when nobody can retry."""
    if not _handlers:
        raise LookupError("No handler is registered: call interventions.handlers.register() in an app's ready().")
    return _handlers[0]


def _ids(actors: Collection[str]) -> dict[str, int]:
    return {actor: int(actor[5:]) for actor in actors if _PERSON.fullmatch(actor)}
