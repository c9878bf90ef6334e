"""P7: the spool among processes that write at once and are killed, before a server that is not there."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections

from config import embedded
from config.embedded import running
from interventions import intake, spool
from interventions.models import History, Intervention
from interventions.operations import log_manual_intervention_needed
from tests import fakes

PYTHON = [sys.executable, "-W", "ignore", "-c"]
DYING = """
import django, os, signal
django.setup()
from interventions import intake, spool
spool.remove = lambda path: os.kill(os.getpid(), signal.SIGKILL)
intake.take_in()
"""
WRITING = """
import django, sys
django.setup()
from interventions.operations import log_manual_intervention_needed as log
for number in range(10**6):
    if log(operation="storm", entity_id=f"{sys.argv[1]}.{number}", error="no profile"):
        print(f"{sys.argv[1]}.{number}", flush=True)
"""
TAKING = """
import django
django.setup()
from interventions import intake
intake.take_in()
"""
WRITERS = 3


@pytest.fixture
def nowhere() -> Iterator[None]:
    """No server listens where this process looks for PostgreSQL."""
    connection.close()
    port, connection.settings_dict["PORT"] = connection.settings_dict["PORT"], "1"
    yield
    connection.close()
    connection.settings_dict["PORT"] = port


def environment(spool_dir: Path, **more: str) -> dict[str, str]:
    return os.environ | {"DATABASE_URL": fakes.database_url(), "SYNC_SPOOL_DIR": str(spool_dir)} | more


@contextmanager
def writing(number: int, environment: dict[str, str], said: Path) -> Iterator[None]:
    """Let a process write, and kill it at the end of the block."""
    with said.open("wb") as output:
        process = subprocess.Popen(
            [*PYTHON, WRITING, str(number)], env=environment, stdout=output, stderr=subprocess.DEVNULL
        )
        try:
            yield
        finally:
            process.kill()
            process.wait()


def log(entity_id: str) -> bool:
    return log_manual_intervention_needed(operation="import", entity_id=entity_id, error="half")


def test_p7_killed_between_adding_and_forgetting_takes_nothing_in_twice(
    transactional_db: None, spool_dir: Path
) -> None:
    with fakes.refusing("manual_intervention_log", "operation <> 'import'"):
        assert [log(str(number)) for number in range(3)] == [True] * 3
    dead = subprocess.run([*PYTHON, DYING], env=environment(spool_dir), check=False)
    assert dead.returncode == -signal.SIGKILL
    assert (Intervention.objects.count(), spool.standing().waiting) == (3, 3)
    Intervention.objects.filter(entity_id="1").update(resolved=True)
    assert intake.take_in().taken == 3
    assert (Intervention.objects.count(), Intervention.objects.filter(resolved=True).count()) == (3, 1)
    assert History.objects.filter(action="opened").count() == 3
    assert spool.standing().is_empty


def test_p7_many_processes_killed_while_they_write_lose_nothing_that_was_noted(
    transactional_db: None, spool_dir: Path, tmp_path: Path
) -> None:
    said = [tmp_path / f"{number}.out" for number in range(WRITERS)]
    with ExitStack() as stack:
        stack.enter_context(fakes.refusing("manual_intervention_log", "operation <> 'storm'"))
        for number, path in enumerate(said):
            stack.enter_context(writing(number, environment(spool_dir), path))
        fakes.wait_until(lambda: all(path.stat().st_size > 200 for path in said), what="all write", seconds=60)
    noted = {line for path in said for line in path.read_text().split("\n")[:-1]}
    for path in spool_dir.iterdir():
        os.utime(path, (time.time() - 100,) * 2)
    # Two take in at once, in other processes than the writers.
    others = [subprocess.Popen([*PYTHON, TAKING], env=environment(spool_dir)) for _ in range(2)]
    assert [other.wait() for other in others] == [0, 0]
    intake.take_in()
    taken = list(Intervention.objects.values_list("entity_id", flat=True))
    assert len(taken) == len(set(taken))
    assert noted <= set(taken), "what was noted before the kill stands in the log"
    assert spool.standing().waiting == 0


def test_p7_without_a_server_the_failure_waits_and_the_check_says_so(
    transactional_db: None, nowhere: None, settings: Any
) -> None:
    assert log("7")
    with pytest.raises(CommandError, match="1 failures wait in the spool") as unknown:
        call_command("check_interventions")
    assert unknown.value.returncode == 2
    assert intake.take_in().taken == 0
    assert spool.standing().waiting == 1


def test_p7_a_server_that_is_stopped_and_comes_back_gets_what_failed_meanwhile(
    transactional_db: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    var_dir = tmp_path_factory.mktemp("own")
    var_dir.chmod(0o755)
    ours = connection.settings_dict.copy()
    connection.close()
    try:
        with embedded.servers(var_dir) as started:
            use(started)
            call_command("migrate", verbosity=0)
            assert log("before")
        assert log("while it was away")
        assert spool.standing().waiting == 1
        assert intake.take_in().taken == 0
        with embedded.servers(var_dir) as started:
            use(started)
            connection.close_if_unusable_or_obsolete()  # as every request and every task begins
            assert intake.take_in().taken == 1
            assert list(Intervention.objects.order_by("timestamp").values_list("entity_id", flat=True)) == [
                "before", "while it was away",
            ]  # fmt: skip
        assert spool.standing().is_empty
    finally:
        connection.close()
        connection.settings_dict.update(ours)


def use(started: running.Servers) -> None:
    """Look for PostgreSQL there. The connection stays as it is: that its server went away is for the product to find."""
    where = connections["default"].settings_dict
    where |= {"PORT": started.database_url.rpartition(":")[2].partition("/")[0], "NAME": "keepwell"}
    where["PASSWORD"] = started.database_url.partition("keepwell:")[2].partition("@")[0]
