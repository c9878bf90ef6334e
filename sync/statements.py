"""The SQL of one flow (everything that one table repeats of another); trigger, worker, audit and desk only wrap it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

from sync.backoff import NOT_EQUAL, UNREADABLE
from sync.mirrors import Declaration, Pair, Place, SharedMirror, Table

# The one sequence of revisions. CACHE 1: a cached block would let an older write carry a newer number.
SEQUENCE = "sync_revision"
# In every statement the row that is written is called `copy`; sources go by their tables' names.
COPY = "copy"
# The column that says of each fact when it was changed last and by whom: {fact: [time, actor, request, revision]}.
CHANGES = "last_changes"
# Gives for a pair the SQL condition on which alone it counts.
Asked = Callable[[Pair], str]


# Compared by identity, as declarations are: the SQL of each is composed once.
@dataclass(frozen=True, eq=False)
class Flow:
    """All pairs that lead from one table into another."""

    source: Table
    target: Table
    pairs: tuple[Pair, ...]

    @property
    def source_columns(self) -> tuple[str, ...]:
        """The columns read."""
        return tuple(dict.fromkeys(pair.source.column for pair in self.pairs))


@cache
def flows(
    declaration: Declaration, *, source: str | None = None, target: str | None = None, routine: str | None = None
) -> tuple[Flow, ...]:
    """List the flows of a declaration, narrowed by source table, target table or routine; tables in locking order."""
    found = []
    for into in declaration.tables:
        for out_of in declaration.tables:
            pairs = tuple(
                pair
                for pair in declaration.pairs
                if (pair.source.table, pair.copy.table) == (out_of.name, into.name)
                and routine in (None, pair.mirror.routine)
            )
            if pairs and source in (None, out_of.name) and target in (None, into.name):
                found.append(Flow(out_of, into, pairs))
    return tuple(found)


def differs(flow: Flow) -> str:
    """Give the condition that `copy` lacks something of the source's row."""
    return _any(flow, _differs, None)


def pair_differs(pair: Pair) -> str:
    """Give the condition that one copy is not as its source wants it, or that its source cannot be read."""
    value = pair.conversion.differs(str(pair.source), f"{COPY}.{pair.copy.column}")
    if not pair.is_shared:
        return value
    newer = f"{COPY}.avatar_revision < {pair.source.table}.avatar_revision"
    if not _wins_ties(pair):
        return newer
    return f"({newer} OR ({COPY}.avatar_revision = {pair.source.table}.avatar_revision AND {value}))"


def shortfall(flow: Flow, asked: Asked | None = None) -> str:
    """Give the code of what `copy` lacks: null where it is equal, UNREADABLE where only the source is in the way."""
    unread = "".join(f" WHEN {condition} THEN '{UNREADABLE}'" for _, condition in _unread(flow, asked))
    return f"CASE WHEN {_any(flow, _writes, asked)} THEN '{NOT_EQUAL}'{unread} END"


@lru_cache
def shortfalls(flow: Flow, where: str, asked: Asked | None = None) -> str:
    """Give the SELECT of (person_id, code, the place in the way) for everybody whose copies differ."""
    unread = "".join(f" WHEN {condition} THEN '{pair.source}'" for pair, condition in _unread(flow, asked))
    place = f"CASE WHEN {_any(flow, _writes, asked)} THEN '{flow.target.name}'{unread} END"
    return (
        f"SELECT {COPY}.{flow.target.key} AS person_id, {shortfall(flow, asked)} AS code, {place} AS place"
        f" FROM {flow.target.name} AS {COPY} JOIN {flow.source.name} ON {joined(flow)}"
        f" WHERE {where} AND {_any(flow, _differs, asked)}"
    )


def told(pair: Pair) -> tuple[str, str]:
    """Give two texts: what the source wants of the copy (or its own words, unread), and what the copy says."""
    back = pair.conversion.back or "{value}"
    wanted, actual = back.format(value=pair.wanted), back.format(value=f"{COPY}.{pair.copy.column}")
    if pair.conversion.reads(str(pair.source)) is not None:
        wanted = f"coalesce({wanted}, {pair.source})"
    return f"({wanted})::text", f"({actual})::text"


def joined(flow: Flow) -> str:
    """Give the condition that `copy` and the source's row belong to one person."""
    return f"{COPY}.{flow.target.key} = {flow.source.name}.{flow.source.key}"


def update(flow: Flow, where: str, asked: Asked | None = None, *, beside: str = "") -> str:
    """
    Give the UPDATE that brings the copies of one flow in line where `where` holds and nowhere else.

    `asked` gives for a pair the condition on which alone it is written; the others stay as they are. `beside` names
    something more to read, joined in `where`. Nothing is written for a source that cannot be read. Safe against newer values only while both rows are locked, and only in a statement
    that began after the locks.
    """
    assignments = ", ".join(a for pair in flow.pairs for a in _assignments(pair, asked))
    return (
        f"UPDATE {flow.target.name} AS {COPY} SET {assignments}, net_revision = nextval('{SEQUENCE}')"
        f" FROM {flow.source.name}{beside and f', {beside}'} WHERE {where} AND {joined(flow)}"
        f" AND {_any(flow, _writes, asked)}"
    )


@lru_cache
def update_people(flow: Flow) -> str:
    """Give the set-based UPDATE over the persons in `$1` (bigint[])."""
    return update(flow, f"{flow.source.name}.{flow.source.key} = ANY($1)")


def different_people(flow: Flow, where: str = "true") -> str:
    """Give the SELECT of `person_id`s for whom the flow's copies differ."""
    return (
        f"SELECT {COPY}.{flow.target.key} AS person_id FROM {flow.target.name} AS {COPY}"
        f" JOIN {flow.source.name} ON {joined(flow)} WHERE {where} AND {differs(flow)}"
    )


def lock_rows(table: Table, *, versions: bool = False) -> str:
    """
    Give the SELECT that locks the persons' rows of one table without ever waiting, and names those it got.

    With `versions` it names each row's `version` too, as it is now that it is locked.
    """
    version = ", concat_ws(' ', ctid, xmin) AS version" if versions else ""
    return (
        f"SELECT {table.key}{version} FROM {table.name} WHERE {table.key} = ANY(%s)"
        f" ORDER BY {table.key} FOR NO KEY UPDATE SKIP LOCKED"
    )


def present_rows(table: Table) -> str:
    """Give the SELECT of the persons in a parameter who have a row in the table, one line a row."""
    return f"SELECT {table.key} FROM {table.name} WHERE {table.key} = ANY(%s)"


def expected_people(table: Table, declaration: Declaration) -> str | None:
    """Give the SELECT of the persons in a parameter who must have a row in the table; None: nobody must."""
    if table.expected is None:
        return None
    place = table.expected.place
    key = declaration.table(place.table).key
    return f"SELECT {key} FROM {place.table} WHERE {key} = ANY(%s) AND {place} = '{table.expected.value}'"


def applies(table: Table, declaration: Declaration, person: str) -> str:
    """Give the condition that the target has something to keep equal for the person whose id is the SQL `person`."""
    sources = [flow.source for flow in flows(declaration, target=table.name)]
    has_source = " OR ".join(_exists(source, person) for source in sources)
    rule = f"({_exists(table, person)} AND ({has_source}))"
    if table.expected is not None:
        place = table.expected.place
        key = declaration.table(place.table).key
        rule = (
            f"({rule} OR EXISTS (SELECT FROM {place.table} WHERE {key} = {person}"
            f" AND {place} = '{table.expected.value}'))"
        )
    return rule


def addresses(declaration: Declaration, link: str) -> str:
    """
    Give the SELECT of (`person_id`, `address`): whom each value of the column `link` belongs to.

    A value that somebody had before counts while nobody has it now, and only if one person alone had it.
    """
    name, key, aliases = declaration.persons.name, declaration.persons.key, declaration.aliases
    found = f"SELECT {name}.{key} AS person_id, {name}.{link} AS address FROM {name}"
    if aliases is None or aliases.link != link:
        return found
    return (
        f"{found} UNION ALL SELECT former.person_id, former.{link} FROM {aliases.table} former JOIN {name} ON {name}.{key} = former.person_id"
        f" WHERE NOT EXISTS (SELECT FROM {name} present WHERE present.{link} = former.{link})"
        f" AND NOT EXISTS (SELECT FROM {aliases.table} other"
        f" WHERE other.{link} = former.{link} AND other.person_id <> former.person_id)"
    )


def linkable(declaration: Declaration, table: Table) -> str:
    """Give the condition that a row of a table without a person may be given to one: not what a deleted person left."""
    persons = declaration.persons
    return (
        f"{table.name}.{table.key} IS NULL AND ({table.link_if}) AND NOT EXISTS (SELECT FROM sync_tombstone lost"
        f" JOIN sync_tombstone gone ON gone.person_id = lost.person_id AND gone.kind = 'deleted'"
        f" AND gone.target = '{persons.name}' WHERE lost.target = '{table.name}' AND lost.kind = 'unlinked'"
        f" AND lost.row_id = {table.name}.id"
        f" AND NOT EXISTS (SELECT FROM {persons.name} p WHERE p.{persons.key} = lost.person_id))"
    )


def shared_column(table: Table, declaration: Declaration) -> str | None:
    """Give the column of the table that may be written in several places, if it has one."""
    for mirror in declaration.mirrors:
        if isinstance(mirror, SharedMirror):
            for place in mirror.places:
                if place.table == table.name:
                    return place.column
    return None


def fact_of(declaration: Declaration, place: Place) -> str | None:
    """Give the fact that stands in a column; None: none does."""
    return next((pair.mirror.fact for pair in declaration.pairs if place in (pair.source, pair.copy)), None)


def changed(columns: Iterable[str]) -> str:
    """Give the trigger condition that one of the columns has another value than before."""
    return "(" + " OR ".join(f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in columns) + ")"


def _exists(table: Table, person: str) -> str:
    return f"EXISTS (SELECT FROM {table.name} WHERE {table.name}.{table.key} = {person})"


def _differs(pair: Pair, asked: Asked | None) -> str:
    return f"({asked(pair)} AND {pair_differs(pair)})" if asked else pair_differs(pair)


def _writes(pair: Pair, asked: Asked | None) -> str:
    readable = pair.conversion.reads(str(pair.source))
    return f"({_differs(pair, asked)} AND {readable})" if readable else _differs(pair, asked)


def _any(flow: Flow, condition: Callable[[Pair, Asked | None], str], asked: Asked | None) -> str:
    return "(" + " OR ".join(condition(pair, asked) for pair in flow.pairs) + ")"


def _unread(flow: Flow, asked: Asked | None) -> Iterator[tuple[Pair, str]]:
    for pair in flow.pairs:
        if readable := pair.conversion.reads(str(pair.source)):
            condition = f"NOT {readable}"
            yield pair, f"({asked(pair)} AND {condition})" if asked else condition


def _assignments(pair: Pair, asked: Asked | None) -> list[str]:
    writes, own = _writes(pair, asked), f"{COPY}.{pair.copy.column}"
    if pair.is_shared:
        return [
            f"{pair.copy.column} = CASE WHEN {writes} THEN {pair.wanted} ELSE {own} END",
            f"avatar_revision = greatest({COPY}.avatar_revision, {pair.source.table}.avatar_revision)",
        ]
    # A conversion's own form of a value that is equal already stays: spelling and order are the first writer's.
    if asked or pair.conversion.difference:
        return [f"{pair.copy.column} = CASE WHEN {writes} THEN {pair.wanted} ELSE {own} END"]
    return [f"{pair.copy.column} = {pair.wanted}"]


def _wins_ties(pair: Pair) -> bool:
    # Rows older than the net all carry revision 0: the place declared first is then taken as the newest.
    mirror = pair.mirror
    if not isinstance(mirror, SharedMirror):
        return False
    return mirror.places.index(pair.source) < mirror.places.index(pair.copy)
