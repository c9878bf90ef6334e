"""P1: a worker that dies by kill -9 while it holds locks and has half a batch written loses nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection

from sync import delivery, tasks
from sync.models import Debt
from tests import fakes
from tests.factories import therapists
from therapists.models import Enrollment, Profile, User

DRAIN = "import django; django.setup(); from sync import delivery; delivery.drain()"
SLEEPING = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
PEOPLE, BATCH, SLOW = 12, 5, 7


@pytest.fixture
def people(transactional_db: None, copying_off: None) -> list[User]:
    people = therapists(PEOPLE)
    Enrollment.objects.update(bio="What the workers must not lose.")
    return people


@pytest.fixture
def _slow_person(people: list[User]) -> Iterator[None]:
    """Whoever but this test's connection writes one person's profile falls asleep over it."""
    fakes.sql(
        "CREATE FUNCTION slow_on_purpose() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(1.5); RETURN NEW; END $$;"
        " CREATE TRIGGER slow_on_purpose BEFORE UPDATE ON therapist_profiles FOR EACH ROW"
        f" WHEN (NEW.user_id = {people[SLOW].pk} AND pg_backend_pid() <> {connection.connection.info.backend_pid})"
        " EXECUTE FUNCTION slow_on_purpose()"
    )
    yield
    fakes.sql("DROP TRIGGER slow_on_purpose ON therapist_profiles; DROP FUNCTION slow_on_purpose()")


@pytest.fixture
def worker() -> Iterator["subprocess.Popen[bytes]"]:
    environment = os.environ | {"DATABASE_URL": fakes.database_url(), "SYNC_BATCH_SIZE": str(BATCH)}
    process = subprocess.Popen([sys.executable, "-c", DRAIN], env=environment)
    yield process
    process.kill()
    process.wait()


@pytest.mark.usefixtures("_slow_person")
def test_p1_a_worker_killed_in_the_middle_of_a_batch_leaves_it_as_it_was(
    people: list[User], worker: "subprocess.Popen[bytes]"
) -> None:
    fakes.wait_until(lambda: fakes.sql(SLEEPING), what="the worker is in the middle of its second batch")
    os.kill(worker.pid, signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL
    assert fakes.silently_behind() == set()
    # While the dead worker's locks still hold, others take the rest and wait for nothing.
    delivery.drain()
    held = Debt.objects.count()
    assert 1 <= held <= BATCH, "a slow first batch makes the second one smaller"
    fakes.wait_until(lambda: not fakes.sql(fakes.OTHERS), what="PostgreSQL has noticed the death")
    assert Debt.objects.count() == held
    assert fakes.silently_behind() == set()
    fakes.settled()
    assert fakes.behind() == set()
    assert not Debt.objects.exists()
    assert Profile.objects.filter(bio="What the workers must not lose.").count() == PEOPLE


def test_p1_two_workers_at_once_do_each_piece_once(people: list[User], worker: "subprocess.Popen[bytes]") -> None:
    while Debt.objects.exists():
        delivery.drain(batches=1)
    assert worker.wait() == 0
    assert fakes.behind() == set()
    assert set(fakes.states(people[0].pk).values()) == {"in_sync"}


def test_p1_a_worker_whose_session_ended_while_it_was_idle_works_with_a_new_one(people: list[User]) -> None:
    def end_session() -> None:
        with psycopg.connect(fakes.database_url(), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])

    end_session()
    assert tasks.drain.apply().state == "SUCCESS"
    assert fakes.behind() == set()
    end_session()
    assert tasks.sweep.apply().state == "SUCCESS"
