"""P1, P2: a repair of many, killed by kill -9 again and again beside live writers, does everything once and no harm."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command

from sync import runs
from sync.models import Run, RunChange, RunState
from tests import fakes
from therapists.demo.population import seed_population

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.timeout(300)]
PEOPLE, DRIFT_PERCENT, KILLS, WRITERS = 20_000, 3, 1, 2
PROFILES = "therapist_profiles"
# Every committed write of a profile that the repair makes, once a line.
WATCH = (
    "CREATE TABLE written_on_purpose (user_id bigint);"
    " CREATE FUNCTION watch_on_purpose() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN INSERT INTO written_on_purpose VALUES (NEW.user_id); RETURN NULL; END $$;"
    " CREATE TRIGGER watch_on_purpose AFTER UPDATE ON therapist_profiles FOR EACH ROW"
    " WHEN (NEW.net_revision > OLD.net_revision) EXECUTE FUNCTION watch_on_purpose()"
)
UNWATCH = "DROP TRIGGER watch_on_purpose ON therapist_profiles; DROP FUNCTION watch_on_purpose(); DROP TABLE written_on_purpose"


@pytest.fixture
def population(transactional_db: None) -> None:
    seed_population(therapists=PEOPLE, drift_percent=Decimal(DRIFT_PERCENT), seed=3)


@pytest.fixture
def _watched(population: None) -> Iterator[None]:
    fakes.sql(WATCH)
    yield
    fakes.sql(UNWATCH)


@contextmanager
def repairing(*words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the command in a process of its own."""
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "repair_drift", *words]
    process = subprocess.Popen(command, env=os.environ | {"DATABASE_URL": fakes.database_url()})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def written() -> int:
    return RunChange.objects.filter(outcome="written").count()


def drifted() -> dict[int, str]:
    """What each drifted profile says, as text, before anything is repaired."""
    people = [person for person, target in fakes.behind() if target == PROFILES]
    return dict(fakes.sql("SELECT user_id, bio FROM therapist_profiles WHERE user_id = ANY(%s)", people))


@pytest.mark.usefixtures("_watched")
def test_p1_killed_again_and_again_it_does_everything_once() -> None:
    before, all_rows = drifted(), fakes.sql("SELECT to_jsonb(t) - 'net_revision' FROM therapist_profiles t ORDER BY id")
    expected = len(fakes.behind())
    with repairing("--apply") as process:
        fakes.wait_until(lambda: written() > 0 or process.poll() is not None, what="something is written", seconds=60)
        os.kill(process.pid, signal.SIGKILL)
    run = Run.objects.get()
    for _ in range(KILLS):
        if run.state != RunState.RUNNING:
            break
        seen = written()
        with repairing("--run", str(run.pk)) as process:
            fakes.wait_until(lambda: written() > seen or process.poll() is not None, what="more is written", seconds=60)  # noqa: B023
            os.kill(process.pid, signal.SIGKILL)
        assert fakes.silently_behind() | set(RunChange.objects.values_list("person_id", "target"))
        run.refresh_from_db()
    if run.state == RunState.RUNNING:
        with repairing("--run", str(run.pk)) as process:
            assert process.wait(timeout=60) == 0
    assert fakes.behind() == set()
    assert written() == expected
    counted = fakes.sql("SELECT count(*), count(DISTINCT user_id) FROM written_on_purpose")
    assert counted == [(len(before), len(before))], "no profile was written twice, none was forgotten"
    kept = RunChange.objects.filter(target=PROFILES, before__has_key="bio").values_list("person_id", "before")
    assert {person: (image or {})["bio"] for person, image in kept} == {p: before[p] for p, _ in kept}
    call_command("repair_drift", undo=run.pk)
    assert fakes.sql("SELECT to_jsonb(t) - 'net_revision' FROM therapist_profiles t ORDER BY id") == all_rows


class Writer(threading.Thread):
    """Edits people of its own at their sources, one after another, and remembers what was acknowledged."""

    def __init__(self, people: list[int], dice: random.Random) -> None:
        super().__init__()
        self.people, self.dice = people, dice
        self.said: dict[int, str] = {}
        self.is_over = threading.Event()
        self.trouble: list[str] = []

    def run(self) -> None:
        with psycopg.connect(fakes.database_url(), autocommit=True) as own:
            while not self.is_over.wait(0.002):
                person, bio = self.dice.choice(self.people), f"Said {self.dice.random()}"
                try:
                    own.execute("UPDATE therapist_enrollments SET bio = %s WHERE user_id = %s", [bio, person])
                except psycopg.Error as error:
                    self.trouble.append(str(error.sqlstate))
                else:
                    self.said[person] = bio


def test_p2_beside_live_writers_the_newest_word_stands(population: None) -> None:
    people = [row[0] for row in fakes.sql("SELECT user_id FROM therapist_enrollments WHERE user_id IS NOT NULL")]
    behind = fakes.behind()
    writers = [Writer(people[number::WRITERS], random.Random(number)) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    try:
        with repairing("--apply") as process:
            assert process.wait(timeout=100) == 0
    finally:
        for writer in writers:
            writer.is_over.set()
            writer.join()
    assert [writer.trouble for writer in writers] == [[], []], "no user's write failed because of the repair"
    fakes.settled()
    assert fakes.behind() == set()
    said = writers[0].said | writers[1].said
    bios = dict(fakes.sql("SELECT user_id, bio FROM therapist_profiles WHERE user_id = ANY(%s)", list(said)))
    assert {person: bios[person] for person in bios} == {person: said[person] for person in bios}
    report = runs.report(Run.objects.get())
    assert report["written"] > len(behind) / 2, "the repair did the work, not the writers"
