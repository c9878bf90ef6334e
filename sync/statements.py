"""The SQL of one flow (everything that one table repeats of another); trigger, worker, audit and desk only wrap it."""

from collections.abc import Iterable
from dataclasses import dataclass

from sync.mirrors import Declaration, Pair, SharedMirror, Table

# The one sequence of revisions. CACHE 1: a cached block would let an older write carry a newer number.
SEQUENCE = "sync_revision"
# In every statement the row that is written is called `copy`; sources go by their tables' names.
COPY = "copy"


@dataclass(frozen=True)
class Flow:
    """All pairs that lead from one table into another."""

    source: Table
    target: Table
    pairs: tuple[Pair, ...]

    @property
    def source_columns(self) -> tuple[str, ...]:
        """The columns read."""
        return tuple(dict.fromkeys(pair.source.column for pair in self.pairs))


def flows(
    declaration: Declaration, *, source: str | None = None, target: str | None = None, routine: str | None = None
) -> list[Flow]:
    """List the flows of a declaration, narrowed by source table, target table or routine; tables in locking order."""
    found = []
    for into in declaration.tables:
        for out_of in declaration.tables:
            pairs = tuple(
                pair
                for pair in declaration.pairs()
                if (pair.source.table, pair.copy.table) == (out_of.name, into.name)
                and routine in (None, pair.mirror.routine)
            )
            if pairs and source in (None, out_of.name) and target in (None, into.name):
                found.append(Flow(out_of, into, pairs))
    return found


def differs(flow: Flow) -> str:
    """Give the condition that `copy` lacks something of the source's row."""
    return "(" + " OR ".join(_pair_differs(pair) for pair in flow.pairs) + ")"


def pair_differs(pair: Pair) -> str:
    """Give the condition that one copy is not as its source wants it."""
    return _pair_differs(pair)


def joined(flow: Flow) -> str:
    """Give the condition that `copy` and the source's row belong to one person."""
    return f"{COPY}.{flow.target.key} = {flow.source.name}.{flow.source.key}"


def update(flow: Flow, where: str) -> str:
    """
    Give the UPDATE that brings the copies of one flow in line where `where` holds and nowhere else.

    Safe against newer values only while both rows are locked, and only in a statement that began after the locks.
    """
    assignments = ", ".join(a for pair in flow.pairs for a in _assignments(pair))
    return (
        f"UPDATE {flow.target.name} AS {COPY} SET {assignments}, net_revision = nextval('{SEQUENCE}')"
        f" FROM {flow.source.name} WHERE {where} AND {joined(flow)} AND {differs(flow)}"
    )


def update_people(flow: Flow) -> str:
    """Give the set-based UPDATE over the persons in `$1` (bigint[])."""
    return update(flow, f"{flow.source.name}.{flow.source.key} = ANY($1)")


def different_people(flow: Flow, where: str = "true") -> str:
    """Give the SELECT of `person_id`s for whom the flow's copies differ."""
    return (
        f"SELECT {COPY}.{flow.target.key} AS person_id FROM {flow.target.name} AS {COPY}"
        f" JOIN {flow.source.name} ON {joined(flow)} WHERE {where} AND {differs(flow)}"
    )


def lock_rows(table: Table) -> str:
    """Give the SELECT that locks the persons' rows of one table without ever waiting, and names those it got."""
    return (
        f"SELECT {table.key} FROM {table.name} WHERE {table.key} = ANY(%s)"
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


def shared_column(table: Table, declaration: Declaration) -> str | None:
    """Give the column of the table that may be written in several places, if it has one."""
    for mirror in declaration.mirrors:
        if isinstance(mirror, SharedMirror):
            for place in mirror.places:
                if place.table == table.name:
                    return place.column
    return None


def changed(columns: Iterable[str]) -> str:
    """Give the trigger condition that one of the columns has another value than before."""
    return "(" + " OR ".join(f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in columns) + ")"


def _exists(table: Table, person: str) -> str:
    return f"EXISTS (SELECT FROM {table.name} WHERE {table.name}.{table.key} = {person})"


def _pair_differs(pair: Pair) -> str:
    value = f"{COPY}.{pair.copy.column} IS DISTINCT FROM {pair.wanted}"
    if not pair.is_shared:
        return value
    newer = f"{COPY}.avatar_revision < {pair.source.table}.avatar_revision"
    if not _wins_ties(pair):
        return newer
    return f"({newer} OR ({COPY}.avatar_revision = {pair.source.table}.avatar_revision AND {value}))"


def _assignments(pair: Pair) -> list[str]:
    if not pair.is_shared:
        return [f"{pair.copy.column} = {pair.wanted}"]
    own = f"{COPY}.{pair.copy.column}"
    return [
        f"{pair.copy.column} = CASE WHEN {_pair_differs(pair)} THEN {pair.wanted} ELSE {own} END",
        f"avatar_revision = greatest({COPY}.avatar_revision, {pair.source.table}.avatar_revision)",
    ]


def _wins_ties(pair: Pair) -> bool:
    # Rows older than the net all carry revision 0: the place declared first is then taken as the newest.
    mirror = pair.mirror
    if not isinstance(mirror, SharedMirror):
        return False
    return mirror.places.index(pair.source) < mirror.places.index(pair.copy)
