"""The functions of the safety net that make copies at commit: a dispatcher for each table, and the named routines."""

from sync import statements
from sync.functions import Function
from sync.mirrors import Declaration, Table
from sync.routines import ANY_ERROR, AS_OWNER, CLEAN, facts

# Rows of one transaction that are copied at commit; later ones are only owed. Copying row by row costs nine times a
# bare UPDATE of 100,000 rows, copying the first 200 and owing the rest three times.
ROWS_COPIED = 200
# Above what a copy needs, far below what a person notices; every lock is asked for without waiting besides.
LOCK_TIMEOUT = "20ms"


def copying(declaration: Declaration, table: Table) -> Function:
    """The dispatcher: calls the routines by name, so that operators can drop them; then the rest is owed."""
    calls = ""
    for routine in dict.fromkeys(m.routine for m in declaration.mirrors):
        facts = [c for f in statements.flows(declaration, source=table.name, routine=routine) for c in f.source_columns]
        if facts:
            changed = statements.changed(dict.fromkeys(facts))
            calls += f"  IF {changed} THEN failed := failed || {routine}(); END IF;\n"
    return Function(
        f"keepwell_copy_{table.name}",
        f"""
DECLARE
  failed text := '';
  -- Settings are written by assignment: PERFORM runs a query for each, at ten times the price.
  word text;
  rows int := coalesce(nullif(split_part(current_setting('keepwell.row', true), ' ', 1), ''), '0')::int;
BEGIN
  -- Above READ COMMITTED a copy would be made from an old snapshot, and fail the caller's own next UPDATE.
  IF NEW.{table.key} IS NULL OR rows >= {ROWS_COPIED}
     OR current_setting('transaction_isolation') <> 'read committed' THEN
    word := set_config('keepwell.copied', '', true);
    RETURN NULL;
  END IF;
  word := set_config('keepwell.row', concat_ws(' ', rows + 1, TG_TABLE_NAME, NEW.{table.key}, {_columns_changed(declaration, table)}), true);
{calls}  -- A copy that was made may be what an item waits for. Where nothing waits, the debt trigger has nothing to do.
  IF failed = '' AND NOT EXISTS (SELECT FROM sync_ledger WHERE person_id = NEW.{table.key} AND owed_since IS NOT NULL)
  THEN failed := '{CLEAN}'; END IF;
  word := set_config('keepwell.copied', concat(TG_RELID, ':', NEW.revision, ':', failed), true);
  RETURN NULL;
EXCEPTION WHEN {ANY_ERROR} THEN
  word := set_config('keepwell.copied', '', true);
  RETURN NULL;
END
""",
        options=f"{AS_OWNER} SET lock_timeout = '{LOCK_TIMEOUT}'",
    )


def _columns_changed(declaration: Declaration, table: Table) -> str:
    """The SQL of `,bio,phone,`: which columns of the row that copies are made of have another value than before."""
    words = [f"CASE WHEN {statements.changed([c])} THEN '{c},' END" for c in facts(declaration, table)]
    return f"concat(',', {', '.join(words)})"


def routine(declaration: Declaration, routine: str) -> Function:
    """
    Copy one group of facts of the row that `keepwell.row` names: 'rows-so-far table person ,column,column,'.

    Only facts whose column changed are copied and compared: a difference of another fact may be one that a person
    accepted. Answers the targets left behind as 'target=code ' words.
    """
    blocks = "".join(
        f"  IF source = '{flow.source.name}' THEN\n{_copy_block(declaration, flow)}  END IF;\n"
        for flow in statements.flows(declaration, routine=routine)
    )
    return Function(
        routine,
        f"""
DECLARE
  task text[] := string_to_array(current_setting('keepwell.row'), ' ');
  source text := task[2];
  person bigint := task[3];
  columns text := task[4];
  locked bigint;
  lacking text;
  theirs text;
  code text;
  failed text := '';
BEGIN
{blocks}  RETURN failed;
END
""",
        returns="text",
    )


def _copy_block(declaration: Declaration, flow: statements.Flow) -> str:
    target, key = flow.target.name, flow.target.key
    asked = (lambda pair: f"strpos(columns, ',{pair.source.column},') > 0") if len(flow.pairs) > 1 else None
    write = statements.update(flow, f"{flow.source.name}.{flow.source.key} = person", asked)
    unequal = statements.shortfalls(flow, f"{statements.COPY}.{key} = person", asked)
    return f"""    BEGIN
      LOCK TABLE ONLY {target} IN ROW EXCLUSIVE MODE NOWAIT;
      SELECT {key} INTO locked FROM {target} WHERE {key} = person FOR NO KEY UPDATE SKIP LOCKED;
      IF FOUND THEN
        -- Read back: a trigger of somebody else may have changed the value, or dropped the write without a word.
        {write} RETURNING {statements.shortfall(flow, asked)}, ({_theirs(declaration, target)}) INTO lacking, theirs;
        IF FOUND THEN
          -- What others check at the end speaks up here, where it costs the copy and not the person's commit.
          IF theirs IS NOT NULL THEN EXECUTE 'SET CONSTRAINTS ' || theirs || ' IMMEDIATE'; END IF;
        ELSE
          lacking := (SELECT found.code FROM ({unequal}) AS found);
        END IF;
        IF lacking IS NOT NULL THEN failed := failed || '{target}=' || lacking || ' '; END IF;
      ELSIF EXISTS (SELECT FROM {target} WHERE {key} = person) THEN
        failed := failed || '{target}=55P03 ';
      ELSE
        failed := failed || '{target}=P0002 ';
      END IF;
    EXCEPTION WHEN {ANY_ERROR} THEN
      GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE;
      failed := failed || '{target}=' || code || ' ';
    END;
"""


def _theirs(declaration: Declaration, target: str) -> str:
    """The SELECT of others' constraints on a target that may be put off; a person's key is never written here."""
    ours = ", ".join(f"'{name}'" for name in ("zz_sync_debt", *(table.trigger for table in declaration.tables)))
    return (
        "SELECT string_agg(c.connamespace::regnamespace || '.' || quote_ident(c.conname), ', ') FROM pg_constraint c"
        f" WHERE c.conrelid = '{target}'::regclass AND c.condeferrable"
        f" AND c.conname NOT IN ({ours})"
        f" AND NOT (c.contype = 'f' AND c.confrelid = '{declaration.persons.name}'::regclass)"
    )
