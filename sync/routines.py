"""The bodies of the safety net's functions, rendered from the declaration."""

from sync import outward, statements
from sync.functions import Function
from sync.mirrors import Declaration, Mirror, Place, Table

SEARCH_PATH = "pg_catalog, public, pg_temp"
AS_OWNER = f"SECURITY DEFINER SET search_path = {SEARCH_PATH}"
# What copying says of a row of which nothing failed and nothing else is owed.
CLEAN = "="
# A caught error must include the two conditions that OTHERS leaves out, or a statement timeout breaks the user's write.
ANY_ERROR = "query_canceled OR assert_failure OR OTHERS"


def facts(declaration: Declaration, table: Table) -> list[str]:
    """List the columns of a table that copies are made of."""
    return list(dict.fromkeys(p.source.column for p in declaration.pairs if p.source.table == table.name))


def owned_copies(declaration: Declaration, table: Table) -> list[str]:
    """The columns of a table that only the net should write."""
    pairs = [p for p in declaration.pairs if p.copy.table == table.name and not p.is_shared]
    return list(dict.fromkeys(p.copy.column for p in pairs))


def text_array(names: tuple[str, ...]) -> str:
    """Give the SQL literal of a text[]."""
    return "ARRAY[" + ", ".join(f"'{name}'" for name in names) + "]::text[]"


def revision(declaration: Declaration, table: Table) -> Function:
    """Number a person's write of a fact under the row's lock."""
    shared = statements.shared_column(table, declaration)
    begun = taken = ""
    if shared:
        begun = f"""
    IF NEW.{shared} IS NOT NULL AND NEW.avatar_revision = 0 THEN NEW.avatar_revision := NEW.revision; END IF;"""
        taken = f"""
    NEW.avatar_revision := CASE WHEN {statements.changed([shared])} THEN NEW.revision ELSE OLD.avatar_revision END;"""
    told = "".join(
        f"""
    IF {statements.changed([column])} THEN
      NEW.{statements.CHANGES} := jsonb_set(NEW.{statements.CHANGES}, '{{{fact}}}', told);
    END IF;"""
        for column in facts(declaration, table)
        if (fact := statements.fact_of(declaration, Place(table.name, column)))
    )
    return Function(
        f"keepwell_revision_{table.name}",
        f"""
DECLARE
  told jsonb;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    NEW.revision := nextval('{statements.SEQUENCE}');
    NEW.net_revision := OLD.net_revision;{taken}
    -- Which facts, when, in whose name and by which write; never what they say. A line in a table of its own cost each write twice this.
    told := jsonb_build_array(
      clock_timestamp(), coalesce(nullif(current_setting('keepwell.actor', true), ''), 'sql:' || session_user),
      coalesce(current_setting('keepwell.request', true), ''), NEW.revision);{told}
  ELSE
    -- The audit relies on it that whoever takes a number has a transaction id by then; an UPDATE has one by its lock.
    PERFORM pg_current_xact_id();
    NEW.revision := nextval('{statements.SEQUENCE}');{begun}
  END IF;
  RETURN NEW;
EXCEPTION WHEN {ANY_ERROR} THEN
  -- A column of ours was renamed: the person's write matters more than its number.
  RETURN NEW;
END
""",
        options=AS_OWNER,
    )


def rows(declaration: Declaration, table: Table) -> Function:
    """Rows that come, go or change hands are owed everywhere: a copy beside an uncommitted row would miss it."""
    everywhere = text_array(declaration.targets)
    append = f"INSERT INTO sync_debt (person_id, targets, revision, code) SELECT {{person}}, {everywhere}, nextval('{statements.SEQUENCE}'), lower(TG_OP)"
    link = ""
    if table.link:
        read = ", ".join([declaration.persons.name, *([declaration.aliases.table] if declaration.aliases else [])])
        found = statements.addresses(declaration, table.link)
        link = f"""
  IF TG_OP <> 'DELETE' AND NEW.{table.key} IS NULL THEN
    BEGIN
      LOCK TABLE ONLY {read} IN ACCESS SHARE MODE NOWAIT;
      INSERT INTO sync_debt (person_id, targets, revision, code)
      SELECT DISTINCT person_id, {everywhere}, nextval('{statements.SEQUENCE}'), 'link' FROM ({found}) AS found
      WHERE address = NEW.{table.link};
    EXCEPTION WHEN {ANY_ERROR} THEN
      NULL;  -- out of reach now: whoever looks for unlinked rows finds this one
    END;
  END IF;"""
    return Function(
        f"keepwell_rows_{table.name}",
        f"""
BEGIN
  IF TG_OP <> 'INSERT' AND OLD.{table.key} IS NOT NULL THEN
    {append.format(person=f"OLD.{table.key}")};{outward.of_row(declaration, f"OLD.{table.key}")}
  END IF;
  IF TG_OP <> 'DELETE' AND NEW.{table.key} IS NOT NULL THEN
    {append.format(person=f"NEW.{table.key}")};{outward.of_row(declaration, f"NEW.{table.key}")}
  END IF;{link}{_alias(declaration) if table == declaration.persons else ""}{_tombstone(table)}
  RETURN NULL;
END
""",
        options=AS_OWNER,
    )


def _tombstone(table: Table) -> str:
    """Remember whose row was deleted or taken away; like an alias it waits for nothing and undoes nothing."""
    words = {
        "person_id": f"OLD.{table.key}", "target": f"'{table.name}'", "row_id": "OLD.id",
        "kind": "CASE TG_OP WHEN 'DELETE' THEN 'deleted' ELSE 'unlinked' END", "at": "clock_timestamp()",
    }  # fmt: skip
    return f"""
  IF TG_OP = 'DELETE' AND OLD.{table.key} IS NOT NULL
     OR TG_OP = 'UPDATE' AND OLD.{table.key} IS NOT NULL AND NEW.{table.key} IS NULL THEN{_append("sync_tombstone", words)}
  END IF;"""


def _alias(declaration: Declaration) -> str:
    """Keep the address that a person gives up: messages and rows that come late still find them by it."""
    aliases = declaration.aliases
    if aliases is None:
        return ""
    words = {
        "person_id": f"OLD.{declaration.persons.key}", aliases.spelling: f"OLD.{aliases.spelling}",
        aliases.link: f"OLD.{aliases.link}", "valid_to": "clock_timestamp()",
    }  # fmt: skip
    return f"""
  IF TG_OP = 'UPDATE' AND {statements.changed([aliases.link])} THEN{_append(aliases.table, words)}
  END IF;"""


def _append(table: str, words: dict[str, str]) -> str:
    """
    Append a row, like debt: nothing here waits, and nothing here can undo the change.

    Where its table is out of reach, the row is set down in this transaction, and a worker appends it later.
    """
    named = ", ".join(f"'{column}', {word}" for column, word in words.items())
    return f"""
    BEGIN
      LOCK TABLE ONLY {table} IN ROW EXCLUSIVE MODE NOWAIT;
      INSERT INTO {table} ({", ".join(words)}) VALUES ({", ".join(words.values())});
    EXCEPTION WHEN {ANY_ERROR} THEN
      INSERT INTO sync_belated (person_id, target, values)
      VALUES ({words["person_id"]}, '{table}', jsonb_build_object({named}));
    END;"""


def truncated() -> Function:
    """A TRUNCATE names no row, so nothing can be owed: it is a gap, until an audit has found what is missing."""
    return Function(
        "keepwell_truncated",
        """
BEGIN
  INSERT INTO sync_gap (closed_at) VALUES (now());
  RETURN NULL;
END
""",
        options=AS_OWNER,
    )


def debt(declaration: Declaration, table: Table) -> Function:
    """Write down what this row's change leaves owed: what copying said, or everything where copying said nothing."""
    uncopied = "".join(
        f"    IF {statements.changed(flow.source_columns)} THEN owed := owed || '{flow.target.name}'::text; END IF;\n"
        for flow in statements.flows(declaration, source=table.name)
    )
    owned = owned_copies(declaration, table)
    may_drift = f" AND NOT {statements.changed(owned)}" if owned else ""
    return Function(
        f"keepwell_debt_{table.name}",
        f"""
DECLARE
  word text := coalesce(current_setting('keepwell.copied', true), '');
  -- Every write has a revision of its own, so that no row takes another's word, nor its own of a write before.
  mine text := concat(TG_RELID, ':', NEW.revision, ':');
  -- Null while there is nothing: testing that is cheaper than comparing arrays, and a bulk statement does it per row.
  owed text[];
  lost jsonb;
  reason text;
  outside text[];
BEGIN
  IF NEW.{table.key} IS NULL THEN RETURN NULL; END IF;
{outward.of_change(declaration, table)}  IF word = mine || '{CLEAN}'{may_drift} THEN RETURN NULL; END IF;
  BEGIN
{uncopied}    IF NOT starts_with(word, mine) THEN
      IF owed IS NOT NULL THEN reason := 'uncopied'; END IF;
    ELSE
      word := rtrim(substr(word, length(mine) + 1), ' {CLEAN}');
      -- A copy that was made may be what an item waits for: a worker looks, and settles it.
      owed := (SELECT array_agg(target) FROM sync_ledger
               WHERE person_id = NEW.{table.key} AND owed_since IS NOT NULL AND target = ANY(owed));
      IF owed IS NOT NULL THEN reason := 'copied'; END IF;
      IF word <> '' THEN
        owed := owed || (SELECT array_agg(split_part(w, '=', 1)) FROM unnest(string_to_array(word, ' ')) w);
        reason := split_part(split_part(word, ' ', 1), '=', 2);
      END IF;
    END IF;
{_drift(declaration, table)}  EXCEPTION WHEN {ANY_ERROR} THEN
    GET STACKED DIAGNOSTICS reason = RETURNED_SQLSTATE;
    owed := {text_array(declaration.targets)};
  END;
  IF lost IS NOT NULL THEN{_lost(table)}
  END IF;
  IF owed IS NOT NULL THEN
    INSERT INTO sync_debt (person_id, targets, revision, code) VALUES (NEW.{table.key}, owed, NEW.revision, reason);
  END IF;
  RETURN NULL;
END
""",
        options=AS_OWNER,
    )


def _lost(table: Table) -> str:
    words = {
        "person_id": f"NEW.{table.key}", "target": f"'{table.name}'", "values": "lost", "written_by": "session_user",
        "at": "now()",
    }  # fmt: skip
    return _append("sync_lost_value", words)


def _drift(declaration: Declaration, table: Table) -> str:
    """A person's write into a copy that now differs from its source: owed, and the value is kept for adoption."""
    blocks = ""
    for flow in statements.flows(declaration, target=table.name):
        for pair in flow.pairs:
            if not isinstance(pair.mirror, Mirror):
                continue
            owned, column = statements.Flow(flow.source, flow.target, (pair,)), pair.copy.column
            unequal = statements.different_people(owned, f"{statements.COPY}.{table.key} = NEW.{table.key}")
            blocks += f"""    IF {statements.changed([column])} THEN
      LOCK TABLE ONLY {flow.source.name} IN ACCESS SHARE MODE NOWAIT;
      IF current_setting('transaction_isolation') <> 'read committed'
         OR EXISTS ({unequal}) THEN
        lost := coalesce(lost, '{{}}') || jsonb_build_object('{column}', NEW.{column});
        owed := owed || '{table.name}'::text;
        reason := coalesce(reason, 'drift');
      END IF;
    END IF;
"""
    return blocks
