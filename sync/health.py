"""Whether this copy can be relied on, and how far behind it is. What cannot be read is red, never 0."""

from dataclasses import dataclass
from functools import cache

from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from interventions import spool
from interventions.sqlstates import name_of
from sync import triggers, vitals
from sync.vitals import postgres
from sync.vitals.parts import worst

READ_MS = 2_000


@dataclass(frozen=True)
class Check:
    """One thing that must hold, whether it does, and what was found where it does not."""

    name: str
    is_good: bool
    found: str = ""


def readiness() -> list[Check]:
    """Give every check; when PostgreSQL does not answer, only that and whether a failure could be kept meanwhile."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {READ_MS}")
            return [Check("database", True), _migrations(), _net(), *_durability(), _spool()]
    except (DatabaseError, InterfaceError) as error:
        code = name_of(error)
        return [Check("database", False, code), _spool()]


def detail() -> dict[str, object]:
    """Give every part with its verdict, its sentence and its figures, the worst verdict, and what could not be read."""
    parts = vitals.everything()
    return {
        "status": worst(*((True, part.verdict) for part in parts)),
        "unknown": [part.name for part in parts if not part.is_known],
        "parts": {
            part.name: {"title": part.title, "verdict": part.verdict, "says": part.says, **part.figures}
            for part in parts
        },
    }


def _spool() -> Check:
    """A place to keep failures in must be there. How full it is says nothing against requests: that is for people."""
    if not spool.is_usable():
        return Check("spool", False, "the directory cannot be written")
    try:
        return Check("spool", True, f"{spool.standing().waiting} waiting")
    except OSError:
        return Check("spool", False, "cannot be read")


def _migrations() -> Check:
    applied = set(MigrationRecorder(connection).applied_migrations())
    missing = sorted(f"{app}.{name}" for app, name in _known_migrations() - applied)
    return Check("migrations", not missing, ", ".join(missing))


@cache
def _known_migrations() -> frozenset[tuple[str, str]]:
    # The files do not change while the process runs; reading them again would cost each probe 50 ms.
    loader = MigrationLoader(None)
    return frozenset(key for key, migration in loader.disk_migrations.items() if not migration.replaces)


def _net() -> Check:
    """Debt must be whole and nothing may differ from what is declared; copying may be off, for that is a switch."""
    status = triggers.status()
    wrong = [
        f"{part.name} {part.state}"
        for part in status.parts
        if part.state != "installed" and (part.state == "differs" or not part.is_copying)
    ]
    return Check("net", not wrong, ", ".join(wrong) if wrong else f"copying {status.copying}")


def _durability() -> list[Check]:
    return [Check(name, is_good, value) for name, (value, is_good) in postgres.durable_settings().items()]
