"""One PostgreSQL and one Valkey for the whole run, the cast, and what every test leaves as it found it."""

import atexit
import gc
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from typing import cast as typed

import django
import psycopg
import pytest
from django.conf import settings
from django.db import connection, connections
from django.test import TransactionTestCase
from psycopg.pq import TransactionStatus
from redis.connection import AbstractConnection
from xdist.scheduler.loadscope import LoadScopeScheduling

from config import embedded

# Settings are read once, at the first import; so this stands here and not in an ini option, which pytest-django reads
# before any conftest. Servers of one's own are used where the environment names them.
if settings.configured:
    raise pytest.UsageError("Unset DJANGO_SETTINGS_MODULE: the tests name their own servers before settings are read.")
VAR_DIR = Path(tempfile.mkdtemp(prefix="keepwell-tests-"))
VAR_DIR.chmod(0o755)
atexit.register(shutil.rmtree, VAR_DIR, ignore_errors=True)
# With DEBUG off the static files are looked for here; without the folder every test client would warn.
(VAR_DIR / "static").mkdir()
os.environ["VAR_DIR"] = str(VAR_DIR)
OWN_SERVERS = not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"))
os.environ["DATABASE_URL"] = os.environ.get("DATABASE_URL") or embedded.database_url(VAR_DIR)
os.environ["REDIS_URL"] = os.environ.get("REDIS_URL") or embedded.redis_url(VAR_DIR)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from sync import triggers  # noqa: E402
from tests import fakes  # noqa: E402
from tests.factories import Cast, assemble_cast  # noqa: E402

PAGES = "tests/browser/"
# What a request gives its copies where nothing else is set.
BUDGET_MS = settings.SYNC_INLINE_BUDGET_MS
# What migrations and post_migrate wrote once stays between tests.
KEPT_TABLES = {"django_migrations", "django_content_type", "auth_permission", "auth_group", "auth_group_permissions"}


def pytest_configure(config: pytest.Config) -> None:
    """Let the processes of `-n` begin as this one did: each starts servers of its own."""
    if config.getoption("numprocesses", None):
        if not OWN_SERVERS:
            raise pytest.UsageError("Servers that the environment names serve one process: leave -n out.")
        for name in ("VAR_DIR", "DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE"):
            del os.environ[name]


class PagesTogether(LoadScopeScheduling):
    """Whoever is free takes the next test, and all that opens pages in the one copy of Keepwell started for them."""

    def _split_scope(self, nodeid: str) -> str:
        return PAGES if nodeid.startswith(PAGES) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> PagesTogether:
    """Share the tests out among the processes of `-n`."""
    return PagesTogether(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow ones: a process that is done early takes quick ones over from the others."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """Take what was collected out of the collector's sight: it stays to the end, and to walk it was a tenth of the run."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def servers() -> Iterator[None]:
    """A PostgreSQL and a Valkey that run."""
    if not OWN_SERVERS:
        yield
        return
    with embedded.servers(VAR_DIR):
        # Processes die in these tests, but no machine does: every fifth millisecond was the disk's.
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as own:
            own.execute("ALTER SYSTEM SET fsync = off")
            own.execute("SELECT pg_reload_conf()")
        yield


@pytest.fixture(scope="session")
def django_db_modify_db_settings(servers: None) -> None:
    """Let the servers run before the database is made on them."""


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    # The net as it is declared now: a change of the declaration is tested before its SQL is frozen.
    with django_db_blocker.unblock():
        triggers.install()


@pytest.fixture(scope="session", autouse=True)
def _emptied_between_tests() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setattr(TransactionTestCase, "_fixture_teardown", lambda self: empty_tables())
    patch.setattr(TransactionTestCase, "_should_reload_connections", lambda self: False)
    yield
    patch.undo()


def empty_tables() -> None:
    """
    Delete what a test wrote, with every trigger asleep: history refuses to be emptied, and nothing shall be owed.

    The session forgets what the test told it, and goes on: a new one would read the catalog anew for an eighth of the time.
    """
    if (
        connection.connection is not None
        and connection.connection.info.transaction_status is not TransactionStatus.IDLE
    ):
        connection.close()  # a test that ran out of time left it in the middle of something
    tables = sorted(set(connection.introspection.django_table_names(only_existing=True)) - KEPT_TABLES)
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica; SET lock_timeout = '10s'")
        cursor.execute("; ".join(f'DELETE FROM "{table}"' for table in tables))
        cursor.execute("DISCARD ALL")
    connection.init_connection_state()


@pytest.fixture(autouse=True)
def _cheap_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def _longest_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Let what failed wait its whole pause: one drawn next to nothing is over before a test looks, and is a second try.

    That pauses are drawn, and from where to where, is tests/unit/test_backoff.py's and tests/integration/test_delivery.py's.
    """
    monkeypatch.setattr("random.uniform", lambda _, longest: longest)


@pytest.fixture(autouse=True)
def _patient_requests(settings: Any) -> None:
    """Let a write's copies take their time: on a stalled machine they would now and then be left to the workers."""
    settings.SYNC_INLINE_BUDGET_MS = 5000


@pytest.fixture
def hurried_requests(settings: Any) -> None:
    """Let a write's copies take no longer than they may by default, for tests of how long a request takes."""
    settings.SYNC_INLINE_BUDGET_MS = BUDGET_MS


@pytest.fixture(autouse=True)
def spool_dir(settings: Any, tmp_path: Path) -> Path:
    """A spool of the test's own, not made yet; processes beside this one are told by SYNC_SPOOL_DIR."""
    settings.SYNC_SPOOL_DIR = tmp_path / "var" / "spool"
    return tmp_path / "var" / "spool"


@pytest.fixture(autouse=True)
def no_network_in_transaction(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test in which the network was used while a transaction of the product was open."""
    caught: list[str] = []
    connect = socket.socket.connect
    send: Callable[..., None] = AbstractConnection.send_packed_command

    def watched_connect(self: socket.socket, address: Any) -> None:
        _note(caught, f"connected to {address}")
        connect(self, address)

    def watched_send(self: Any, *words: Any, **more: Any) -> None:
        _note(caught, "sent a command to Redis")
        send(self, *words, **more)

    monkeypatch.setattr(socket.socket, "connect", watched_connect)
    monkeypatch.setattr(AbstractConnection, "send_packed_command", watched_send)
    yield
    assert not caught, f"Network inside a transaction: {caught}"


def _note(caught: list[str], what: str) -> None:
    # The transaction around a whole test is the test's own.
    blocks: list[Any] = getattr(connections["default"], "atomic_blocks", [])
    if any(not block._from_testcase for block in blocks):
        caught.append(what)


@pytest.fixture
def second_connection(transactional_db: None) -> Iterator[Callable[..., fakes.Connection]]:
    """Open more connections to the test's database, each in autocommit; all are closed at the end."""
    opened: list[fakes.Connection] = []

    def connect(**options: Any) -> fakes.Connection:
        opened.append(psycopg.connect(fakes.database_url(), autocommit=True, **options))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


@pytest.fixture
def settled(transactional_db: None) -> Callable[..., int]:
    """Run the workers' work until it is quiet."""
    return fakes.settled


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    """Ada, Ben, Cleo, Sam and Vic."""
    return assemble_cast()


@pytest.fixture(params=["both", "receivers off", "copying off"])
def layers(request: pytest.FixtureRequest, settings: Any, transactional_db: None) -> Iterator[str]:
    """Run the test with every layer, with the database's alone, and with Python's alone."""
    name = typed("str", request.param)
    if name == "receivers off":
        settings.SYNC_RECEIVERS = False
    if name == "copying off":
        triggers.disable()
    yield name
    if name == "copying off":
        triggers.enable()


@pytest.fixture
def database_alone(settings: Any) -> None:
    """Leave the database alone at work: no receiver fans out."""
    settings.SYNC_RECEIVERS = False


@pytest.fixture
def copying_off(transactional_db: None) -> Iterator[None]:
    """Leave the net's debt alone at work."""
    triggers.disable()
    yield
    triggers.enable()
