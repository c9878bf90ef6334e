"""A slice of the engine's tests on PostgreSQL 15, the oldest that is supported, in a session with a server of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.conf import settings

from config.embedded.account import account

# The folder of PostgreSQL 15's programs; Debian's unless the environment names another.
PROGRAMS = Path(os.environ.get("POSTGRESQL_15_BIN", "/usr/lib/postgresql/15/bin"))
SLICE = (
    "tests/concurrency/test_interleavings.py",
    "tests/concurrency/test_avatar_and_locks.py",
    "tests/integration/test_net_among_others.py",
    "tests/integration/test_specialization.py::TestWhatCannotBeRead",
    "tests/integration/test_specialization.py::TestReading::test_gives_the_names_that_were_meant",
    "tests/integration/test_specialization.py::TestReading::test_gives_null_and_no_error_for_what_it_cannot_read",
    "tests/integration/test_delivery.py::test_p9_one_poison_row_among_five_hundred_stops_nobody",
)
# On an idle machine a tenth of this.
SECONDS = 400
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(SECONDS + 60),
    pytest.mark.skipif(
        not (PROGRAMS / "initdb").exists(),
        reason=f"No PostgreSQL 15 in {PROGRAMS}: POSTGRESQL_15_BIN names the folder of another.",
    ),
]


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """PostgreSQL 15 on a free port, with room for prepared transactions; gives its URL."""
    who, data = account(), Path(settings.VAR_DIR) / "postgresql15"
    data.mkdir(mode=0o700)
    who.own(data)
    who.run(
        [str(PROGRAMS / "initdb"), f"--pgdata={data}", "--username=keepwell", "--auth=trust", "--encoding=UTF8",
         "--locale=C.UTF-8", "--no-sync"],
        environment={"LC_ALL": "C"},
    )  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_prepared_transactions": 4,
        "fsync": "off",
    }  # fmt: skip
    command = [*who.prefix, str(PROGRAMS / "postgres"), "-D", str(data)]
    with (Path(settings.VAR_DIR) / "postgresql15.log").open("wb") as log:
        running = subprocess.Popen(
            [*command, *(word for name, value in options.items() for word in ("-c", f"{name}={value}"))],
            stdout=log, stderr=log, user=who.uid, group=who.gid, extra_groups=None if who.uid is None else [],
            env=os.environ | {"LC_ALL": "C"}, cwd="/", process_group=0,
        )  # fmt: skip
    url = f"postgresql://keepwell@127.0.0.1:{port}/postgres"
    try:
        _wait_for(url, running)
        yield url
    finally:
        os.killpg(running.pid, signal.SIGINT)
        running.wait(timeout=30)


def _wait_for(url: str, running: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            assert running.poll() is None, "PostgreSQL 15 did not start."
            assert time.monotonic() < deadline, "PostgreSQL 15 does not answer."
            time.sleep(0.05)


def test_the_engine_holds_on_postgresql_15(server: str) -> None:
    with psycopg.connect(server) as own:
        assert own.info.server_version // 10000 == 15
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *SLICE],
        cwd=settings.BASE_DIR,
        env={name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        | {"DATABASE_URL": server.replace("postgresql:", "postgres:"), "SYNC_RECEIVERS": "false"},
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    # Only here can a transaction be prepared: nothing of the slice is left out.
    assert "skipped" not in done.stdout.splitlines()[-1]
