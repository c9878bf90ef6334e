"""What the safety net does about outside services: nothing but owing them, and only those that are configured."""

from sync import statements
from sync.functions import Function
from sync.mirrors import Declaration, Service, Table

# In debt, what is owed to every service of a kind; whoever takes it up knows which there are.
EVERY = "*"
# Why debt of a service stands apart from that of copies.
REASON = "service"
# As in sync.routines, which looks down on this module.
_ANY_ERROR = "query_canceled OR assert_failure OR OTHERS"


def every(declaration: Declaration) -> list[str]:
    """Name, as debt does, every service that is owed what somebody asks to have brought in line."""
    return [f"{EVERY}{service.kind}" for service in declaration.services if not service.is_notice]


def known(declaration: Declaration, options: str) -> Function:
    """
    Say which kinds are configured, ` listing mail `, or `-`; a transaction is told once.

    Where that cannot be read, everything is owed: whoever takes it up drops what nobody configured.
    """
    every = " ".join(service.kind for service in declaration.services)
    return Function(
        "keepwell_services",
        f"""
DECLARE
  found text;
BEGIN
  LOCK TABLE ONLY sync_service IN ACCESS SHARE MODE NOWAIT;
  found := (SELECT ' ' || string_agg(DISTINCT kind, ' ') || ' ' FROM sync_service WHERE is_configured);
  RETURN set_config('keepwell.services', coalesce(found, '-'), true);
EXCEPTION WHEN {_ANY_ERROR} THEN
  RETURN set_config('keepwell.services', ' {every} ', true);
END
""",
        returns="text",
        options=options,
    )


def is_owed_anything() -> str:
    """Give the SQL condition that some service is configured."""
    return "coalesce(nullif(current_setting('keepwell.services', true), ''), keepwell_services()) <> '-'"


def of_change(declaration: Declaration, table: Table) -> str:
    """Owe the services whose facts a changed row holds, beside what its copies are owed."""
    lines = ""
    for service in declaration.services:
        if columns := _columns(declaration, service, table):
            lines += f"""    IF {_is_configured(service)} AND ({statements.changed(columns)}) THEN
      outside := outside || '{EVERY}{service.kind}'::text;
    END IF;
"""
    if not lines:
        return ""
    return f"""  IF {is_owed_anything()} THEN
{lines}    IF outside IS NOT NULL THEN
      INSERT INTO sync_debt (person_id, targets, revision, code)
      VALUES (NEW.{table.key}, outside, NEW.revision, '{REASON}');
    END IF;
  END IF;
"""


def of_row(declaration: Declaration, person: str) -> str:
    """Owe every service about a person whose row came, went or changed hands; notices are about changes alone."""
    kinds = [service.kind for service in declaration.services if not service.is_notice]
    if not kinds:
        return ""
    every = ", ".join(f"'{kind}'" for kind in kinds)
    return f"""
    IF {is_owed_anything()} THEN
      INSERT INTO sync_debt (person_id, targets, revision, code)
      SELECT {person}, array_agg('{EVERY}' || kind), nextval('{statements.SEQUENCE}'), '{REASON}'
      FROM unnest(ARRAY[{every}]) AS kind
      WHERE strpos(current_setting('keepwell.services', true), ' ' || kind || ' ') > 0 HAVING count(*) > 0;
    END IF;"""


def applies(declaration: Declaration, person: str) -> str:
    """Give the SQL of whether there is anything to tell a service of kind `t.kind` about a person with ledger row `l`."""
    rules = "".join(
        f" WHEN '{service.kind}' THEN EXISTS (SELECT FROM {place.table}"
        f" WHERE {declaration.table(place.table).key} = {person} AND {place.column} = '{service.only.value}')"
        for service in declaration.services
        if service.only is not None and (place := service.only.place)
    )
    told = "l.person_id IS NOT NULL"
    return f"CASE t.kind{rules} ELSE {told} END" if rules else told


def _is_configured(service: Service) -> str:
    return f"strpos(current_setting('keepwell.services', true), ' {service.kind} ') > 0"


def _columns(declaration: Declaration, service: Service, table: Table) -> list[str]:
    places = [place for fact in service.facts for place in declaration.sources(fact)]
    return list(dict.fromkeys(place.column for place in places if place.table == table.name))
