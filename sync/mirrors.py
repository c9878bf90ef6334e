"""The words in which a project declares what is a copy of what; `sync` learns everything from one such declaration."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from sync.backoff import Urgency
from sync.conversions import IDENTITY, Conversion


@dataclass(frozen=True)
class Place:
    """A column in which a fact is stored."""

    table: str
    column: str

    def __str__(self) -> str:
        return f"{self.table}.{self.column}"


@dataclass(frozen=True)
class Copy:
    """A place that repeats a fact of another. `absent` is the SQL of its value once the source's row is deleted."""

    place: Place
    conversion: Conversion = IDENTITY
    absent: str | None = None


@dataclass(frozen=True)
class Mirror:
    """
    One fact with one source and its copies. `routine` names the SQL function that copies it at commit.

    `is_decided`: the source changes by an operation of its own alone, never by adopting what somebody wrote into a copy.
    """

    fact: str
    source: Place
    copies: tuple[Copy, ...]
    routine: str
    urgency: Urgency = Urgency.NORMAL
    is_decided: bool = False


@dataclass(frozen=True)
class SharedMirror:
    """One fact that may be written in any of its places: the newest write, by revision, is the source."""

    fact: str
    places: tuple[Place, ...]
    routine: str
    urgency: Urgency = Urgency.NORMAL


@dataclass(frozen=True)
class Expected:
    """A person's row in a table must exist once `place` has this value; before that, a missing row is no failure."""

    place: Place
    value: str


@dataclass(frozen=True)
class Table:
    """A target: one table with at most one row a person, found by `key`, which holds the person's id."""

    name: str
    key: str
    # The name that operators know of the trigger that copies away from this table.
    trigger: str
    expected: Expected | None = None
    # A column by which a row without a person is linked to the person's row with the same value.
    link: str | None = None
    # Which of several such rows is taken (an ORDER BY), and which may be at all (a condition), over the row's columns.
    link_order: str = "id"
    link_if: str = "true"
    # What a row without a person is called, as SQL over its columns; None: there are no such rows.
    unlinked: str | None = None


@dataclass(frozen=True)
class Service:
    """
    An outside service as a target, of which there may be several of one kind: which facts of a person it takes.

    `besides` are given with them, and owe nothing when they change. `only`: whom it knows at all; whoever ceases to be
    one of these is withdrawn there. `is_notice`: it tells people what happens, so that nothing is owed to it about
    what was so before.
    """

    kind: str
    facts: tuple[str, ...]
    besides: tuple[str, ...] = ()
    only: Expected | None = None
    urgency: Urgency = Urgency.NORMAL
    is_notice: bool = False


@dataclass(frozen=True)
class Aliases:
    """
    Where the values of `Table.link` go that a person had before.

    `table` has the columns `person_id` and `valid_to` and the two named here, which the persons' table has as well: the
    value as it was spelled, and the one that is compared.
    """

    table: str
    spelling: str
    link: str


# Compared by identity: what is derived from a declaration is kept for as long as it is the declaration.
@dataclass(frozen=True, eq=False)
class Declaration:
    """What is a copy of what. The first table holds the persons themselves."""

    tables: tuple[Table, ...]
    mirrors: tuple[Mirror | SharedMirror, ...]
    aliases: Aliases | None = None
    services: tuple[Service, ...] = ()

    @property
    def persons(self) -> Table:
        """The table whose key is the person's id itself."""
        return self.tables[0]

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """The tables that hold at least one copy, in the order in which they are locked."""
        held = {pair.copy.table for pair in self.pairs}
        return tuple(table.name for table in self.tables if table.name in held)

    def table(self, name: str) -> Table:
        """Find a table by name; raises KeyError."""
        for table in self.tables:
            if table.name == name:
                return table
        raise KeyError(name)

    def service(self, kind: str) -> Service:
        """Find a kind of service; raises KeyError."""
        for service in self.services:
            if service.kind == kind:
                return service
        raise KeyError(kind)

    def sources(self, fact: str) -> tuple[Place, ...]:
        """Give the places of which the newest owns a fact: one, or those that share it. Raises KeyError."""
        for mirror in self.mirrors:
            if mirror.fact == fact:
                return (mirror.source,) if isinstance(mirror, Mirror) else mirror.places
        raise KeyError(fact)

    @cached_property
    def pairs(self) -> tuple["Pair", ...]:
        """Every (source, copy) pair, once per source."""
        return tuple(self._pairs())

    def _pairs(self) -> Iterator["Pair"]:
        for mirror in self.mirrors:
            if isinstance(mirror, Mirror):
                yield from (
                    Pair(mirror, mirror.source, copy.place, copy.conversion, copy.absent) for copy in mirror.copies
                )
            else:
                for source in mirror.places:
                    yield from (Pair(mirror, source, place, IDENTITY) for place in mirror.places if place != source)


@dataclass(frozen=True)
class Pair:
    """One source and one copy of one fact."""

    mirror: Mirror | SharedMirror
    source: Place
    copy: Place
    conversion: Conversion
    absent: str | None = None

    @property
    def is_shared(self) -> bool:
        """Whether the newest write of several places wins."""
        return isinstance(self.mirror, SharedMirror)

    @property
    def wanted(self) -> str:
        """THE expression of the value that the copy should have, over the source table's own name."""
        return self.conversion.sql(str(self.source))


_registered: list[Declaration] = []


def register(declaration: Declaration) -> None:
    """Make this the project's declaration; the last one counts."""
    _registered[:] = [declaration]


def declaration() -> Declaration:
    """Give the project's declaration; raises LookupError when none was registered."""
    if not _registered:
        raise LookupError("No declaration is registered: call sync.mirrors.register() in an app's ready().")
    return _registered[0]
