"""Whether this copy can be relied on, and how far behind it is. What cannot be read is red, never 0."""

import datetime as dt
from dataclasses import dataclass
from functools import cache

from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from interventions import idempotency, spool
from sync import pulse, queries, triggers
from sync.models import Belated, Debt, Gap

READ_MS = 2_000
DURABLE = {
    "fsync": {"on"},
    "full_page_writes": {"on"},
    "synchronous_commit": {"on", "local", "remote_write", "remote_apply"},
}


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
        code = str(getattr(error.__cause__, "sqlstate", None) or type(error).__name__)
        return [Check("database", False, code), _spool()]


def detail() -> dict[str, object]:
    """Give what staff look at: how old and how many the owed rows are, the net's parts, the gap. Raises DatabaseError."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {READ_MS}")
        oldest, now = queries.oldest_owed(), dt.datetime.now(dt.UTC)
        net = triggers.status()
        gap = Gap.objects.filter(audited_at=None).order_by("id").first()
        return {
            "oldest_owed_at": oldest and oldest.isoformat(),
            "oldest_owed_seconds": oldest and round((now - oldest).total_seconds()),
            "ledger": _ledger_states(),
            "debt_rows": Debt.objects.count(),
            "belated_rows": Belated.objects.count(),
            "net": {
                "debt": net.debt, "copying": net.copying, "is_verified": net.is_verified,
                "parts": [{"kind": p.kind, "name": p.name, "state": p.state} for p in net.parts],
            },
            "spool": waiting(),
            "keys": idempotency.statistics(),
            "signs": [
                {"role": sign.role, "name": sign.name, "at": sign.at.isoformat(), "is_silent": sign.is_silent(now)}
                for sign in pulse.signs()
            ],
            "gap": gap and {"opened_at": gap.opened_at.isoformat(), "closed_at": gap.closed_at and gap.closed_at.isoformat()},
        }  # fmt: skip


def waiting() -> dict[str, object]:
    """Give how many failures wait in this machine's spool, since when, and what else it holds; is_known false: unread."""
    try:
        found = spool.standing()
    except OSError as error:
        return {"is_known": False, "found": type(error).__name__}
    return {
        "is_known": True, "waiting": found.waiting, "oldest_seconds": found.oldest_seconds(dt.datetime.now(dt.UTC)),
        "unreadable": found.unreadable, "refused": found.refused,
    }  # fmt: skip


def _spool() -> Check:
    """A place to keep failures in must be there. How full it is says nothing against requests: that is for people."""
    if not spool.is_usable():
        return Check("spool", False, "the directory cannot be written")
    found = waiting()
    told = f"{found['waiting']} waiting" if found["is_known"] else "cannot be read"
    return Check("spool", bool(found["is_known"]), told)


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
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(DURABLE)])
        found = dict(cursor.fetchall())
    return [Check(name, found.get(name) in good, str(found.get(name))) for name, good in DURABLE.items()]


def _ledger_states() -> dict[str, int]:
    """Count the owed rows by state: a count of every row would grow with the people, not with the trouble."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT CASE WHEN is_paused THEN 'parked' WHEN excluded_reason IS NOT NULL THEN 'excluded'"
            " WHEN lease_until > clock_timestamp() THEN 'leased' WHEN next_attempt_at IS NULL THEN 'blocked'"
            " WHEN next_attempt_at > clock_timestamp() THEN 'backing_off' ELSE 'due' END, count(*)"
            " FROM sync_ledger WHERE owed_since IS NOT NULL GROUP BY 1"
        )
        return dict(cursor.fetchall())
