"""P9: who takes workers down is found, put in front of staff, and holds nobody else up."""

import os
import signal
import subprocess
import sys

import pytest
from django.db import OperationalError

from interventions.models import Intervention
from sync import delivery, reconcile
from sync.backoff import QUARANTINED
from sync.models import Batch, Debt, Ledger
from tests import fakes
from tests.factories import therapists
from therapists.models import Enrollment, Profile, User

DEADLY = """
import django, os, signal
django.setup()
from sync import delivery, reconcile
bring = reconcile.bring
def deadly(entities, **words):
    if any(person_id == {poison} for person_id, _ in entities):
        os.kill(os.getpid(), signal.SIGKILL)
    return bring(entities, **words)
reconcile.bring = deadly
delivery.drain()
"""
STOPPING = """
import django, os, signal
django.setup()
from sync import delivery, reconcile
bring = reconcile.bring
def stopping(entities, **words):
    result = bring(entities, **words)
    os.kill(os.getpid(), signal.SIGSTOP)
    return result
reconcile.bring = stopping
delivery.drain()
"""
DEATHS = 3
IN_THE_MIDDLE = f"{fakes.OTHERS} AND state = 'idle in transaction'"


def deaths(poison: User) -> int:
    """Start one worker after the other until one lives; gives how many died."""
    died = 0
    while True:
        worker = subprocess.run(
            [sys.executable, "-c", DEADLY.format(poison=poison.pk)],
            env=os.environ | {"DATABASE_URL": fakes.database_url()},
            check=False,
        )
        if worker.returncode == 0:
            return died
        assert worker.returncode == -signal.SIGKILL
        died += 1
        assert died <= 10, "workers die for ever"
        assert fakes.silently_behind() == set()
        fakes.wait_until(lambda: not fakes.sql(fakes.OTHERS), what="PostgreSQL has noticed the death")


def stopped(worker: subprocess.Popen[bytes]) -> bool:
    """Whether a signal has stopped the process; its session may look idle a hundred times before that."""
    return os.waitid(os.P_PID, worker.pid, os.WSTOPPED | os.WNOHANG) is not None


@pytest.mark.parametrize("among", [1, 60])
def test_p9_who_kills_workers_is_quarantined_after_three(transactional_db: None, copying_off: None, among: int) -> None:
    people = therapists(among)
    poison = people[among // 2]
    Enrollment.objects.update(bio="Edited.")
    assert deaths(poison) == DEATHS
    row = Ledger.objects.get(person_id=poison.pk, target="therapist_profiles")
    assert (row.crashes, row.next_attempt_at, row.last_error_code) == (DEATHS, None, QUARANTINED)
    assert fakes.states(poison.pk)["therapist_profiles"] == "blocked"
    item = Intervention.objects.get(resolved=False)
    assert (item.person_id, item.code) == (poison.pk, QUARANTINED)
    assert Profile.objects.filter(bio="Edited.").count() == among - 1
    assert not Debt.objects.exists()
    assert not Batch.objects.exists()


def test_p9_a_worker_that_fails_and_lives_is_no_death(
    transactional_db: None, copying_off: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    therapists(3)
    Enrollment.objects.update(bio="Edited.")

    def broken(*_: object, **__: object) -> reconcile.Result:
        raise OperationalError("The server closed the connection.")

    with monkeypatch.context() as patch:
        patch.setattr(reconcile, "bring", broken)
        delivery.drain(batches=2)
    assert not Batch.objects.exists()
    delivery.drain()
    assert fakes.behind() == set()


def test_p9_a_server_that_went_down_accuses_nobody(transactional_db: None, copying_off: None) -> None:
    people = therapists(3)
    Enrollment.objects.update(bio="Edited.")
    for _ in range(DEATHS + 1):
        Batch.objects.create(
            pid=1, backend_start="2020-01-01T00:00Z", server_start="2020-01-01T00:00Z", people=[people[0].pk], deaths=9
        )
    delivery.drain()
    assert fakes.behind() == set()
    assert not Intervention.objects.exists()


def test_p2_a_worker_that_was_stopped_for_too_long_can_write_nothing(transactional_db: None, copying_off: None) -> None:
    person = therapists(1)[0]
    Enrollment.objects.update(bio="older")
    worker = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", STOPPING], stderr=subprocess.DEVNULL,
        env=os.environ | {"DATABASE_URL": fakes.database_url(), "SYNC_TABLE_LEASE_SECONDS": "1"},
    )  # fmt: skip
    try:
        fakes.wait_until(lambda: stopped(worker), what="the worker has stopped")
        fakes.wait_until(lambda: not fakes.sql(IN_THE_MIDDLE), what="PostgreSQL has ended the stopped worker's session")
        Enrollment.objects.update(bio="newer")
        delivery.drain()
        assert Profile.objects.get(user=person).bio == "newer"
        worker.send_signal(signal.SIGCONT)
        assert worker.wait(timeout=30) > 0, "its transaction is gone, and it must not think otherwise"
    finally:
        worker.kill()
        worker.wait()
    assert Profile.objects.get(user=person).bio == "newer"
    assert fakes.silently_behind() == set()
