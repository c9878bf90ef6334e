"""The drill: break one place on purpose, watch an intervention come, mend it, watch it go. Development only."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DatabaseError, connection, transaction

from therapists import outages
from therapists.mirrors import PROFILES
from therapists.outages import DemoService

CONSTRAINT = "keepwell_drill_refuse"
COLUMN, RENAMED = "bio", "bio_renamed_by_drill"
# A session that holds a lock is known by this name, and by nothing else.
HOLDER = "keepwell drill"
HELD_AT_MOST_SECONDS = 600
READY_SECONDS = 3.0
ALTER_LOCK_MS = 2_000


class UnknownFault(LookupError):
    """There is no fault of this name."""


class DrillForbidden(RuntimeError):
    """The drill is for development only, and DEBUG is off."""


class DrillBlocked(RuntimeError):
    """The table is held by somebody. Mend the faults that lock it first."""


@dataclass(frozen=True)
class Fault:
    """One way to break the target, and whether it is broken that way now."""

    name: str
    title: str
    explanation: str
    is_on: bool


@dataclass(frozen=True)
class _Way:
    title: str
    explanation: str
    is_on: Callable[[], bool]
    begin: Callable[[], None]
    end: Callable[[], None]


def faults() -> list[Fault]:
    """List every fault of the profile table with its state, read from the database's catalogs now."""
    return [Fault(name, way.title, way.explanation, way.is_on()) for name, way in _WAYS.items()]


def services() -> list[DemoService]:
    """List the demo's outside services, each as it is now; none outside the demo."""
    return outages.services()


def names() -> list[str]:
    """List all that may be broken: faults of the table, and services as in `listing:hang`."""
    return [*_WAYS, *outages.names()]


def break_target(name: str) -> None:
    """
    Bring the fault about; nothing happens where it is. A service then fails in this way instead of another.

    Raises UnknownFault, DrillForbidden, DrillBlocked and ServiceAway.
    """
    if ":" not in name or not outages.knows(name):
        way = _way(name)
    if not settings.DEBUG:
        raise DrillForbidden(DrillForbidden.__doc__)
    if ":" in name:
        outages.break_service(name)
    elif not way.is_on():
        way.begin()


def mend(name: str) -> None:
    """Take the fault away; nothing happens where there is none. Raises UnknownFault, DrillBlocked and ServiceAway."""
    if outages.knows(name):
        outages.mend_service(name)
        return
    way = _way(name)
    if way.is_on():
        way.end()


def mend_all() -> None:
    """Take every fault away, those first that hold the table, and mend every service that is there."""
    for name in sorted(_WAYS, key=lambda name: name not in _LOCKS):
        mend(name)
    for service in outages.services():
        if service.is_on:
            outages.mend_service(service.name)


def hold(name: str) -> None:
    """
    Take the locks of `lock` or `hang` and keep them until the session is ended, at most ten minutes.

    Ends this process's part in silence when the fault is mended. Raises UnknownFault.
    """
    if name not in _LOCKS:
        raise UnknownFault(name)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = {ALTER_LOCK_MS}")
            cursor.execute(_LOCKS[name])
            cursor.execute("SELECT set_config('application_name', %s, false)", [f"{HOLDER} {name}"])
            cursor.execute("SELECT pg_sleep(%s)", [HELD_AT_MOST_SECONDS])
    except DatabaseError:
        return
    finally:
        connection.close()


def _way(name: str) -> _Way:
    if name not in _WAYS:
        raise UnknownFault(name)
    return _WAYS[name]


def _refuses() -> bool:
    return _exists("pg_constraint WHERE conrelid = to_regclass(%s) AND conname = %s", PROFILES, CONSTRAINT)


def _refuse() -> None:
    column = RENAMED if _is_renamed() else COLUMN
    # NOT VALID: rows that are there stay as they are; what is written from now on is checked.
    _alter(f"ADD CONSTRAINT {CONSTRAINT} CHECK ({column} IS NULL) NOT VALID")


def _allow() -> None:
    _alter(f"DROP CONSTRAINT IF EXISTS {CONSTRAINT}")


def _is_renamed() -> bool:
    return _exists("pg_attribute WHERE attrelid = to_regclass(%s) AND attname = %s", PROFILES, RENAMED)


def _rename() -> None:
    _alter(f"RENAME COLUMN {COLUMN} TO {RENAMED}")


def _rename_back() -> None:
    _alter(f"RENAME COLUMN {RENAMED} TO {COLUMN}")


def _alter(change: str) -> None:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = {ALTER_LOCK_MS}")
            cursor.execute(f"ALTER TABLE {PROFILES} {change}")
    except DatabaseError as error:
        raise DrillBlocked(DrillBlocked.__doc__) from error


def _is_held(name: str) -> bool:
    return _exists("pg_stat_activity WHERE datname = current_database() AND application_name = %s", f"{HOLDER} {name}")


def _start_holder(name: str) -> None:
    """Start a process that holds the locks and outlives us; it leaves its starter at once, so nobody waits for it."""
    subprocess.run(
        [sys.executable, str(settings.BASE_DIR / "manage.py"), "drill", "hold", name],
        cwd=settings.BASE_DIR, env=os.environ | {"DATABASE_URL": _database_url()}, start_new_session=True, check=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + READY_SECONDS
    while not _is_held(name):
        if time.monotonic() > deadline:
            raise DrillBlocked(DrillBlocked.__doc__)
        time.sleep(0.05)


def _end_holder(name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 3000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = %s",
            [f"{HOLDER} {name}"],
        )


def _database_url() -> str:
    """The database of this connection, which in tests is another than the settings name."""
    return urlsplit(settings.DATABASE_URL)._replace(path=f"/{connection.settings_dict['NAME']}").geturl()


def _exists(what: str, *words: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT EXISTS (SELECT FROM {what})", words)
        return bool(cursor.fetchone()[0])


_LOCKS = {
    "lock": f"LOCK TABLE {PROFILES} IN ACCESS EXCLUSIVE MODE",
    "hang": f"SELECT count(*) FROM (SELECT FROM {PROFILES} FOR UPDATE) AS held",
}
_WAYS = {
    "refuse": _Way(
        "The profile table refuses what is written",
        "A CHECK constraint refuses every profile with a text. Edit a bio: the edit is saved, an intervention opens at"
        " once, because asking again does not help. Mended, it goes by itself.",
        _refuses, _refuse, _allow,
    ),
    "rename": _Way(
        "A column has another name",
        f"{PROFILES}.{COLUMN} is called {RENAMED}, as after a release in the wrong order. Edits are saved; one"
        " intervention a person opens at once. Pages that show the column fail until it is mended.",
        _is_renamed, _rename, _rename_back,
    ),
    "lock": _Way(
        "Somebody has locked the whole profile table",
        "A session holds ACCESS EXCLUSIVE on the table, as a long ALTER TABLE does. Edits take their usual time; the"
        " copy is tried again by itself, and after five tries an intervention opens. Ends after ten minutes.",
        lambda: _is_held("lock"), lambda: _start_holder("lock"), lambda: _end_holder("lock"),
    ),
    "hang": _Way(
        "Somebody has locked every profile row and hangs",
        "A session holds all rows FOR UPDATE, as a forgotten transaction does. Reading works, copies are tried again by"
        " themselves, and after five tries an intervention opens. Ends after ten minutes.",
        lambda: _is_held("hang"), lambda: _start_holder("hang"), lambda: _end_holder("hang"),
    ),
}  # fmt: skip
