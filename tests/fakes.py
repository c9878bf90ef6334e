"""Troubles made on purpose, each undone at the end of its block, and the workers' work run until it is quiet."""

import datetime as dt
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection, transaction
from django.db.models.functions import Now

from config.embedded import postgres
from interventions.models import Intervention
from sync import delivery, ledger, queries, tasks
from sync.differences import Comparison
from sync.mirrors import declaration
from sync.models import Debt, Ledger
from sync.stops import Breaker
from therapists.models import Profile, User

Connection = psycopg.Connection[tuple[Any, ...]]
# Gives a row for each backend of the test's database but Django's own.
OTHERS = (
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
    " AND pid <> pg_backend_pid()"
)


def database_url() -> str:
    """Give the URL of the test's database, for connections and processes beside Django's."""
    s = connection.settings_dict
    return f"postgresql://{s['USER']}:{s['PASSWORD']}@{s['HOST']}:{s['PORT']}/{s['NAME']}"


def database_url_of(role: str) -> str:
    """Give the URL by which another role signs in to the test's database."""
    return database_url().replace(f"//{connection.settings_dict['USER']}:", f"//{role}:", 1)


def sql(statement: str, *words: Any) -> list[tuple[Any, ...]]:
    """Run one statement on Django's connection, past every model; give its rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, words or None)
        return list(cursor.fetchall()) if cursor.description is not None else []


def psql(statement: str) -> None:
    """Run one statement from a program that is not ours: psql, or a bare Python where psql is not there."""
    bare = "import psycopg, sys; psycopg.connect(sys.argv[2], autocommit=True).execute(sys.argv[1])"
    command = [sys.executable, "-W", "ignore", "-c", bare]
    for program in (found.bin / "psql" for found in postgres.installations()):
        if program.exists():
            command = [str(program), "-X", "-v", "ON_ERROR_STOP=1", "-c"]
            break
    subprocess.run([*command, statement, database_url()], check=True, capture_output=True)


@contextmanager
def asleep() -> Iterator[None]:
    """Let no trigger of the database fire inside the block: what is written there is seen by nobody."""
    sql("SET session_replication_role = replica")
    try:
        yield
    finally:
        sql("RESET session_replication_role")


def settled(*, tries: int = 1, rounds: int = 20) -> int:
    """
    Run the workers until nothing changes any more, as if time had passed; give how often something was settled.

    What keeps failing is tried `tries` times more after everything else is quiet.
    """
    mended = 0
    for _ in range(rounds):
        Ledger.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=Now())
        Breaker.objects.filter(word="open").update(probe_at=Now())
        Breaker.objects.filter(ramp_since__isnull=False).update(ramp_since=Now() - dt.timedelta(hours=1))
        report = delivery.drain()
        ledger.unblock(schema=ledger.schema_of(delivery.tables()))
        mended += report.settled
        if not Debt.objects.exists() and not report.settled:
            tries -= 1
        if tries <= 0 and not Ledger.objects.filter(next_attempt_at__lte=Now(), is_paused=False).exists():
            tasks.follow_causes()
            return mended
    raise AssertionError("The workers do not come to rest.")


def sweep() -> None:
    """Run the beat's sweep in this process."""
    tasks.sweep()


@contextmanager
def refusing(table: str, check: str) -> Iterator[None]:
    """Add a CHECK to a table that its present rows need not meet."""
    sql(f"ALTER TABLE {table} ADD CONSTRAINT refused_on_purpose CHECK ({check}) NOT VALID")
    try:
        yield
    finally:
        sql(f"ALTER TABLE {table} DROP CONSTRAINT refused_on_purpose")


@contextmanager
def obstructed(table: str, check: str) -> Iterator[Callable[[], None]]:
    """
    As `refusing`, until what is given is called.

    No table's shape changes by that: it is no reason for the engine to try again by itself.
    """
    sql("CREATE TABLE obstacle AS SELECT true AS stands")
    sql("CREATE FUNCTION obstructed() RETURNS boolean LANGUAGE sql VOLATILE AS 'SELECT EXISTS (SELECT FROM obstacle)'")
    try:
        with refusing(table, f"({check}) OR NOT obstructed()"):
            yield _lift
    finally:
        sql("DROP FUNCTION obstructed; DROP TABLE obstacle")


def _lift() -> None:
    sql("DELETE FROM obstacle")


@contextmanager
def renamed(table: str, column: str) -> Iterator[None]:
    """Call a column by another name."""
    sql(f"ALTER TABLE {table} RENAME COLUMN {column} TO {column}_renamed")
    try:
        yield
    finally:
        sql(f"ALTER TABLE {table} RENAME COLUMN {column}_renamed TO {column}")


@contextmanager
def locked_table(table: str, mode: str = "ACCESS EXCLUSIVE") -> Iterator[Connection]:
    """Hold a lock on a whole table in a transaction of somebody else."""
    with psycopg.connect(database_url()) as other:
        other.execute(f"LOCK TABLE {table} IN {mode} MODE")
        yield other
        other.rollback()


@contextmanager
def locked_row(table: str, person: int) -> Iterator[Connection]:
    """Hold a lock on a person's row in a transaction of somebody else."""
    key = "id" if table == "users" else "user_id"
    with psycopg.connect(database_url()) as other:
        assert other.execute(f"SELECT FROM {table} WHERE {key} = %s FOR UPDATE", [person]).rowcount == 1
        yield other
        other.rollback()


@contextmanager
def away() -> Iterator[None]:
    """Let Django find nobody where PostgreSQL is."""
    connection.close()
    port, connection.settings_dict["PORT"] = connection.settings_dict["PORT"], 1
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["PORT"] = port


@contextmanager
def connected_with(**options: Any) -> Iterator[None]:
    """Let Django's connection begin anew with these options."""
    usual = connection.settings_dict["OPTIONS"]
    connection.close()
    connection.settings_dict["OPTIONS"] = usual | options
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["OPTIONS"] = usual


def wait_until(is_so: Callable[[], object], *, what: str, seconds: float = 15) -> None:
    """Look again and again until something is so; fails when the deadline passes."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"Waited in vain until {what}."
        time.sleep(0.005)


def states(person: int) -> dict[str, str]:
    """Give the state of each target of a person."""
    return {found.target: found.state for found in queries.sync_states([person])}


def avatars(person: User) -> set[str | None]:
    """Give what the three places say of a person's avatar."""
    row = Profile.objects.select_related("user__enrollment").get(user=person)
    assert row.user is not None
    return {row.profile_image_url, row.user.avatar_url, row.user.enrollment.profile_image_url}


def behind() -> set[tuple[int, str]]:
    """Find every person and target whose copies differ from their source now."""
    compared = Comparison(declaration(), declaration().targets)
    return {(one.person_id, target) for one in compared.found("true", {}) for target in one.targets}


def silently_behind() -> set[tuple[int, str]]:
    """Find, in one snapshot, every copy that differs although nothing is owed and no item is open: P1 says none."""
    with transaction.atomic():
        sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        owed = {(debt.person_id, target) for debt in Debt.objects.all() for target in debt.targets}
        owed |= set(Ledger.objects.filter(owed_since__isnull=False).values_list("person_id", "target"))
        owed |= {(item.person_id or 0, item.target) for item in Intervention.objects.filter(resolved=False)}
        return behind() - owed


def waits_for_a_lock(pid: int) -> bool:
    """Tell whether a backend waits for somebody's lock."""
    return sql("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s", pid) == [(True,)]


def milliseconds(write: Callable[[], object]) -> float:
    """Run something and give how long it took."""
    started = time.perf_counter()
    write()
    return (time.perf_counter() - started) * 1000
