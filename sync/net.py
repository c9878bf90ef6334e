"""The safety net's SQL, rendered from the declaration: debt, copying at commit, and the view of every state."""

from dataclasses import dataclass
from hashlib import sha256

from sync import copying, outward, routines, statements
from sync.functions import Function
from sync.mirrors import Declaration, Table

# What answers and pages read of the view of states.
STATE = {
    "person_id": "bigint", "target": "text", "state": "text", "owed_since": "timestamptz", "attempts": "integer",
    "next_attempt_at": "timestamptz", "last_error_code": "text",
}  # fmt: skip
# The numbers of a row's last write, somebody's and the net's. Two columns: an expression costs each write 7 %, they cost 2.
WRITTEN = ("revision", "net_revision")


@dataclass(frozen=True)
class Trigger:
    """A trigger of the net. Copying ones may be switched off; without the others P1 and P4 do not hold."""

    name: str
    table: str
    definition: str
    is_copying: bool = False

    @property
    def fingerprint(self) -> str:
        """What its comment says while it is the one declared."""
        return f"keepwell {sha256(self.definition.encode()).hexdigest()[:16]}"

    @property
    def create(self) -> str:
        """The SQL that makes it, whatever was there before."""
        return (
            f"DROP TRIGGER IF EXISTS {self.name} ON {self.table};\n{self.definition};\n"
            f"COMMENT ON TRIGGER {self.name} ON {self.table} IS '{self.fingerprint}';"
        )


def conversions(declaration: Declaration) -> list[Function]:
    """List what the declared conversions need."""
    pairs = declaration.pairs
    return list(dict.fromkeys(function for pair in pairs for function in pair.conversion.functions))


def states() -> Function:
    """
    Give what reads the view for some persons by a plan that a session makes once: each planning cost four readings.

    The plan is made for tables of any size: what is empty today is not read whole when it has grown.
    """
    return Function(
        "keepwell_states",
        f"""
BEGIN
  RETURN QUERY SELECT {", ".join(f"s.{name}" for name in STATE)}
    FROM contract_sync_state s WHERE s.person_id = ANY(people) ORDER BY s.person_id, s.target;
END
""",
        arguments="people bigint[]",
        returns=f"TABLE ({', '.join(f'{name} {kind}' for name, kind in STATE.items())})",
        options="STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off",
    )


def lasting(declaration: Declaration) -> list[Function]:
    """List the functions that workers, audit and answers call too: they stay when the net goes."""
    return [*conversions(declaration), states()]


def functions(declaration: Declaration) -> list[Function]:
    """List the functions that go with the net."""
    services = [outward.known(declaration, routines.AS_OWNER)] if declaration.services else []
    found = [*services, routines.truncated(), *(copying.routine(declaration, name) for name in _names(declaration))]
    for table in declaration.tables:
        found += [f(declaration, table) for f in (routines.revision, routines.rows, routines.debt)]
        if routines.facts(declaration, table):
            found.append(copying.copying(declaration, table))
    return found


def triggers(declaration: Declaration) -> list[Trigger]:
    """List every trigger of the net. Deferred ones of a row run in the order of their names: copying, then debt."""
    return [trigger for table in declaration.tables for trigger in _triggers(declaration, table)]


def columns(declaration: Declaration) -> str:
    """Give the SQL that adds the net's own columns; they are no fields of any model."""
    added = "".join(
        f"ALTER TABLE {table.name} ADD COLUMN IF NOT EXISTS {column} bigint NOT NULL DEFAULT 0;\n"
        for table in declaration.tables
        for column in ("revision", "avatar_revision", "net_revision")
    )
    added += "".join(
        f"ALTER TABLE {table.name} ADD COLUMN IF NOT EXISTS {statements.CHANGES} jsonb NOT NULL DEFAULT '{{}}';\n"
        for table in declaration.tables
    )
    return f"CREATE SEQUENCE IF NOT EXISTS {statements.SEQUENCE} CACHE 1;\n{added}{_indexes(declaration)}"


def indexes(declaration: Declaration, *, concurrently: bool = False) -> list[str]:
    """List what finds the rows written since a number: a few kilobytes for a million rows."""
    word = "CONCURRENTLY " if concurrently else ""
    return [
        f"CREATE INDEX {word}IF NOT EXISTS {table.name}_numbered ON {table.name} USING brin ({', '.join(WRITTEN)})"
        " WITH (pages_per_range = 16, autosummarize = on)"
        for table in declaration.tables
    ]


def _indexes(declaration: Declaration) -> str:
    # Before 16 an index on these columns would end heap-only updates; there the incremental audit reads the tables.
    made = "".join(f"    {statement};\n" for statement in indexes(declaration))
    # An earlier form of the net had them over an expression, which cost each write more.
    made += "".join(f"    DROP INDEX IF EXISTS {table.name}_written;\n" for table in declaration.tables)
    return (
        "DO $keepwell$ BEGIN\n  IF current_setting('server_version_num')::int >= 160000 THEN\n"
        f"{made}  END IF;\nEND $keepwell$;\n"
    )


def install(declaration: Declaration) -> str:
    """Give the whole SQL of the net, which may be run again and again."""
    parts = [columns(declaration)]
    parts += [function.create for function in lasting(declaration)]
    parts += [function.create for function in functions(declaration)]
    parts += [trigger.create for trigger in triggers(declaration)]
    return "\n".join([*parts, view(declaration)])


def rollback(declaration: Declaration) -> str:
    """Give the SQL that switches copying off for good and leaves debt in place."""
    lines = [
        f"DROP TRIGGER IF EXISTS {trigger.name} ON {trigger.table};"
        for trigger in triggers(declaration)
        if trigger.is_copying
    ]
    return "\n".join(lines + [f"DROP FUNCTION IF EXISTS {routine}();" for routine in _names(declaration)])


def uninstall(declaration: Declaration) -> str:
    """Give the SQL that removes every trigger and function; columns, tables, views and what reads them stay."""
    lines = [f"DROP TRIGGER IF EXISTS {trigger.name} ON {trigger.table};" for trigger in triggers(declaration)]
    return "\n".join(lines + [f"DROP FUNCTION IF EXISTS {function.name}();" for function in functions(declaration)])


def view(declaration: Declaration) -> str:
    """Give the view `contract_sync_state`: the one place where a state is derived."""
    rules = " ".join(
        f"WHEN '{name}' THEN {statements.applies(declaration.table(name), declaration, 'p.person_id')}"
        for name in declaration.targets
    )
    persons = declaration.persons
    everybody = (
        f"SELECT {persons.key} AS person_id, NULL::text AS gone FROM {persons.name} UNION ALL"
        # Deleted and not there again: what is left to do for them is done by the tombstone, not by debt.
        " SELECT person_id, CASE WHEN bool_and(applied_at IS NOT NULL) THEN 'deleted'"
        " WHEN bool_or(hold_id IS NOT NULL) THEN 'parked' ELSE 'due' END"
        f" FROM sync_tombstone WHERE target = '{persons.name}' AND kind = 'deleted' AND NOT EXISTS"
        f" (SELECT FROM {persons.name} WHERE {persons.name}.{persons.key} = sync_tombstone.person_id) GROUP BY person_id"
    )
    services = outward.applies(declaration, "p.person_id")
    states = _states(
        declaration, everybody, f"CASE WHEN t.kind IS NOT NULL THEN {services} ELSE CASE t.target {rules} END END"
    )
    return f"CREATE OR REPLACE VIEW contract_sync_state AS\n{states};\n{_unlinked_view(declaration)}"


def _unlinked_view(declaration: Declaration) -> str:
    """Give the view `contract_unlinked` of rows without a person: nothing is kept equal there, and it says why."""
    rows = " UNION ALL ".join(
        f"SELECT '{table.name}'::text AS target, id::bigint AS row_id, 'excluded'::text AS state,"
        f" ({table.unlinked})::text AS reason FROM {table.name} WHERE {table.key} IS NULL"
        for table in declaration.tables
        if table.unlinked is not None
    )
    return f"CREATE OR REPLACE VIEW contract_unlinked AS\n{rows};" if rows else ""


def states_of_owed(declaration: Declaration) -> str:
    """
    Give the view's query over the persons in a parameter without reading any declared table: none is waited for.

    A target of which nothing is owed then counts as in sync, whether it applies or not.
    """
    people = "SELECT unnest(%s::bigint[]) AS person_id, NULL::text AS gone"
    return _states(declaration, people, "(t.kind IS NULL OR l.person_id IS NOT NULL)")


def _states(declaration: Declaration, people: str, applies: str) -> str:
    targets = ", ".join(f"('{name}', NULL)" for name in declaration.targets)
    return f"""SELECT p.person_id, t.target,
  coalesce(l.desired_revision, 0) + (d.owed_since IS NOT NULL)::int AS desired_revision,
  coalesce(l.applied_revision, 0) AS applied_revision,
  coalesce(l.verified_revision, 0) AS verified_revision,
  CASE
    -- A service is told of a deletion by a call of its own.
    WHEN p.gone IS NOT NULL AND (t.kind IS NULL OR d.owed_since IS NULL AND l.owed_since IS NULL) THEN p.gone
    WHEN l.is_paused AND (d.owed_since IS NOT NULL OR l.owed_since IS NOT NULL) THEN 'parked'
    WHEN (d.owed_since IS NOT NULL OR l.owed_since IS NOT NULL AND l.excluded_reason IS NULL
      AND l.next_attempt_at IS NOT NULL) AND (EXISTS (SELECT FROM sync_breaker b WHERE b.target = t.target
        AND (b.word = 'open' OR b.throttled_until > clock_timestamp()))
      OR EXISTS (SELECT FROM sync_pause s WHERE s.scope = 'person' AND s.key = p.person_id::text
        OR s.scope = 'target' AND s.key = t.target OR s.scope = 'operation' AND s.key = 'sync')) THEN 'parked'
    WHEN d.owed_since IS NOT NULL THEN 'due'
    WHEN l.owed_since IS NOT NULL AND l.excluded_reason IS NOT NULL THEN 'excluded'
    WHEN l.owed_since IS NOT NULL AND l.lease_until > clock_timestamp() THEN 'leased'
    WHEN l.owed_since IS NOT NULL AND l.next_attempt_at IS NULL THEN 'blocked'
    WHEN l.owed_since IS NOT NULL AND l.next_attempt_at > clock_timestamp() THEN 'backing_off'
    WHEN l.owed_since IS NOT NULL THEN 'due'
    WHEN NOT {applies} THEN 'excluded'
    WHEN t.kind IS NULL THEN 'in_sync'
    WHEN l.person_id IS NULL THEN 'due'
    WHEN l.verified_revision < l.applied_revision THEN 'unverifiable'
    ELSE 'in_sync'
  END AS state,
  least(l.owed_since, d.owed_since) AS owed_since,
  coalesce(l.attempts, 0) AS attempts,
  l.next_attempt_at,
  CASE WHEN l.owed_since IS NOT NULL THEN l.last_error_code ELSE d.code END AS last_error_code,
  CASE
    WHEN p.gone IS NOT NULL OR d.owed_since IS NOT NULL THEN NULL
    WHEN l.owed_since IS NOT NULL THEN l.excluded_reason
    WHEN NOT {applies} THEN 'no source'
  END AS excluded_reason
FROM ({people}) p
CROSS JOIN (
  SELECT target::text, kind::text FROM (VALUES {targets}) AS tables (target, kind)
  UNION ALL SELECT target, kind FROM sync_service WHERE is_configured
) AS t
LEFT JOIN sync_ledger l ON l.person_id = p.person_id AND l.target = t.target
LEFT JOIN LATERAL (
  SELECT min(at) AS owed_since, min(code) AS code FROM sync_debt
  WHERE sync_debt.person_id = p.person_id
    AND (t.target = ANY(sync_debt.targets) OR '{outward.EVERY}' || t.kind = ANY(sync_debt.targets))
  HAVING count(*) > 0
) d ON true"""


def _changes_hands(declaration: Declaration, table: Table) -> str:
    """Give the condition that a row may belong to somebody else than before."""
    moved = f"OLD.{table.key} IS DISTINCT FROM NEW.{table.key}"
    if table.link is not None:
        return f"{moved} OR (NEW.{table.key} IS NULL AND {statements.changed([table.link])})"
    links = dict.fromkeys(t.link for t in declaration.tables if t.link is not None)
    return f"{moved} OR {statements.changed(links)}" if table == declaration.persons and links else moved


def _names(declaration: Declaration) -> list[str]:
    return list(dict.fromkeys(mirror.routine for mirror in declaration.mirrors))


def _triggers(declaration: Declaration, table: Table) -> list[Trigger]:
    facts, copies, name = routines.facts(declaration, table), routines.owned_copies(declaration, table), table.name
    # Every write of the net raises net_revision; whatever does not is somebody's, also inside others' triggers.
    by_person = "NEW.net_revision <= OLD.net_revision"
    watched = statements.changed([*facts, *copies])
    found = [
        _trigger("zz_sync_revision_insert", name, f"BEFORE INSERT ON {name}", "", f"keepwell_revision_{name}"),
        _trigger(
            "zz_sync_truncated", name, f"AFTER TRUNCATE ON {name}", "", "keepwell_truncated", each="STATEMENT"
        ),
        _trigger("zz_sync_rows", name, f"AFTER INSERT OR DELETE ON {name}", "", f"keepwell_rows_{name}"),
        _trigger(
            "zz_sync_moved", name, f"AFTER UPDATE ON {name}",
            f"WHEN ({_changes_hands(declaration, table)})", f"keepwell_rows_{name}",
        ),
        _trigger(
            "zz_sync_debt", name, f"AFTER UPDATE ON {name} DEFERRABLE INITIALLY DEFERRED",
            f"WHEN ({watched} AND {by_person})", f"keepwell_debt_{name}", kind="CONSTRAINT TRIGGER",
        ),
    ]  # fmt: skip
    if facts:
        changed = f"WHEN ({statements.changed(facts)} AND {by_person})"
        found += [
            _trigger("zz_sync_revision", name, f"BEFORE UPDATE ON {name}", changed, f"keepwell_revision_{name}"),
            _trigger(
                table.trigger, name, f"AFTER UPDATE ON {name} DEFERRABLE INITIALLY DEFERRED", changed,
                f"keepwell_copy_{name}", kind="CONSTRAINT TRIGGER", is_copying=True,
            ),
        ]  # fmt: skip
    return found


def _trigger(
    name: str,
    table: str,
    event: str,
    when: str,
    function: str,
    *,
    kind: str = "TRIGGER",
    each: str = "ROW",
    is_copying: bool = False,
) -> Trigger:
    definition = f"CREATE {kind} {name} {event} FOR EACH {each} {when} EXECUTE FUNCTION {function}()"
    return Trigger(name, table, " ".join(definition.split()), is_copying)
