"""P9: however many workers look at an open breaker at once, one row is tried."""

import datetime as dt
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from typing import Any

import psycopg
import pytest
from django.db import connections
from django.utils import timezone

from interventions import failpoints
from sync import breaker_state, delivery
from sync.models import Attempt, Ledger
from sync.stops import Breaker
from tests import fakes
from tests.concurrency.held import Gate, Worker
from tests.factories import therapists
from therapists.models import Enrollment, User

TARGET = "therapist_profiles"
DRAIN = "import django; django.setup(); from sync import delivery; delivery.drain()"
DRAINS = 4


@pytest.fixture
def people(transactional_db: None, settings: Any) -> list[User]:
    settings.SYNC_RECEIVERS = False
    return therapists(8)


def open_breaker(people: list[User]) -> None:
    Enrollment.objects.filter(user__in=people).update(bio="Owed behind a lock.")
    for _ in range(6):
        fakes.sql("UPDATE sync_ledger SET next_attempt_at = clock_timestamp() WHERE next_attempt_at IS NOT NULL")
        delivery.drain()
    assert Breaker.objects.get().word == "open"
    assert Ledger.objects.filter(is_paused=True).count() == len(people)


class Meeting:
    """Stands where the file of failpoints stands: who has the breaker's row waits until everybody else has it or is done."""

    def __init__(self) -> None:
        self._all_here = threading.Condition()
        self._arrived = 0

    def take(self, point: str, people: Iterable[int]) -> None:
        """Wait here for the others."""
        if point == "sync.breaker.after_lock":
            self.arrive()
            with self._all_here:
                assert self._all_here.wait_for(lambda: self._arrived >= DRAINS, timeout=30)

    def arrive(self) -> None:
        """Be here, or be done."""
        with self._all_here:
            self._arrived += 1
            self._all_here.notify_all()


def pull_together(at: dt.datetime, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let several threads pull forward at the same moment; gives what each of them got."""
    meeting, pulled = Meeting(), list[int]()
    monkeypatch.setattr(failpoints, "_orders", meeting)

    def pull() -> None:
        try:
            pulled.append(breaker_state.pull_forward(at))
            if not pulled[-1]:
                meeting.arrive()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=pull) for _ in range(DRAINS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return pulled


def test_p9_two_drains_in_processes_of_their_own_agree_on_one_probe(people: list[User]) -> None:
    with fakes.locked_table(TARGET):
        open_breaker(people)
        tries = Attempt.objects.count()
        Breaker.objects.update(probe_at=timezone.now())
        environment = os.environ | {"DATABASE_URL": fakes.database_url()}
        drains = [subprocess.Popen([sys.executable, "-c", DRAIN], env=environment) for _ in range(2)]
        assert [drain.wait() for drain in drains] == [0, 0]
        assert Attempt.objects.count() == tries + 1
        assert Breaker.objects.get().probe_seconds == 120
        assert Ledger.objects.filter(is_paused=True).count() == len(people) - 1


def test_p9_one_of_many_threads_gets_the_probe(people: list[User], monkeypatch: pytest.MonkeyPatch) -> None:
    with fakes.locked_table(TARGET):
        open_breaker(people)
        Breaker.objects.update(probe_at=timezone.now())
        pulled = pull_together(timezone.now(), monkeypatch)
    assert sorted(pulled) == [0] * (DRAINS - 1) + [1]
    assert Ledger.objects.filter(is_paused=False).count() == 1


def test_p9_a_ramp_lets_no_more_through_to_many_than_to_one(
    people: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    with fakes.locked_table(TARGET):
        open_breaker(people)
    at = timezone.now()
    Breaker.objects.update(word="closed", ramp_since=at - dt.timedelta(seconds=1), ramp_taken=0, probe_at=None)
    pulled = pull_together(at, monkeypatch)
    assert sum(pulled) == 5
    assert Ledger.objects.filter(is_paused=True).count() == 3


def test_p9_what_a_probe_found_out_is_noted_though_somebody_looks_at_that_moment(people: list[User]) -> None:
    with fakes.locked_table(TARGET):
        open_breaker(people)
        Breaker.objects.update(probe_at=timezone.now())
        assert breaker_state.pull_forward(timezone.now()) == 1
        worker = Worker(Gate("nowhere"))
        with psycopg.connect(fakes.database_url()) as other:
            other.execute("SELECT FROM sync_breaker FOR NO KEY UPDATE")
            worker.start()
            fakes.wait_until(
                lambda: worker.has_stopped() or (worker.pid and fakes.waits_for_a_lock(worker.pid)),
                what="the probe's worker wants to note what it found out",
            )
        worker.end(must_die=False)
    assert Breaker.objects.get().probe_seconds == 120
