"""Dead workers and a dead beat are told of, by whoever lives."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone

from config.celery import app
from interventions import alerts, tasks, watchman
from interventions.models import Alert, AlertDelivery, AlertState, AlertWatch
from interventions.watchman import Watchman
from sync import alerts as engine
from sync import pulse
from sync.pulse import Pulse
from tests import channels as servers
from tests import fakes
from tests.channels import Board
from tests.integration.test_check_alerts import checked

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture
def board(settings: Any) -> Iterator[Board]:
    """The channel of whoever is called at night."""
    with servers.http_board() as board:
        settings.ALERT_URLS_PAGE = [board.url]
        yield board


def signs(**minutes: float) -> None:
    """Let workers and beat have given their last sign so many minutes ago."""
    for role, ago in minutes.items():
        Pulse().give(role, "here")
        fakes.sql("UPDATE sync_pulse SET at = at - %s WHERE role = %s", dt.timedelta(minutes=ago), role)


def looked(*, minutes: float) -> None:
    AlertWatch.objects.create(looked_at=timezone.now() - dt.timedelta(minutes=minutes))


def silence() -> list[str]:
    return [lag.says for lag in engine.lags() if lag.name == "silent"]


@pytest.mark.parametrize(
    ("ago", "begins"),
    [
        ({}, []),
        ({"worker": 4, "beat": 4}, []),
        ({"worker": 6, "beat": 0}, ["No"]),
        ({"worker": 0, "beat": 6}, ["Beat"]),
        ({"worker": 6, "beat": 7}, ["Neither"]),
    ],
)
def test_silence_is_told_of_those_who_once_gave_a_sign(ago: dict[str, float], begins: list[str]) -> None:
    signs(**ago)
    assert [said.split()[0] for said in silence()] == begins


def test_one_worker_that_lives_is_enough() -> None:
    signs(worker=6)
    Pulse().give(pulse.WORKER, "there")
    assert silence() == []


def test_p7_the_web_tells_of_dead_workers_and_a_worker_that_it_is_over(board: Board) -> None:
    signs(worker=7, beat=7)
    looked(minutes=7)
    assert watchman.step_in(at=timezone.now())
    (said,) = board.taken
    assert said["title"] == (
        "[Keepwell, urgent] Neither workers nor beat give a sign of life: nothing is brought in line."
    )
    assert "7 minutes" in said["message"]
    assert watchman.step_in(at=timezone.now()), "While nobody else looks."
    assert len(board.taken) == 1, "Told once."
    code, complaint, _ = checked()
    assert (code, "Neither workers nor beat" in complaint) == (1, True)
    Pulse().give(pulse.WORKER, "here")
    Pulse().give(pulse.BEAT, "here")
    alerts.look(at=timezone.now())
    assert not watchman.step_in(at=timezone.now())
    assert AlertDelivery.objects.filter(kind="recovered", state=AlertState.WAITING).count() == 1


def test_the_first_task_after_a_night_finds_that_its_worker_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    signs(worker=600)
    Pulse().give(pulse.BEAT, "here")
    monkeypatch.setattr(pulse.pulse, "_said", -pulse.EVERY_SECONDS)
    assert app.conf.beat_schedule["alert"]["task"] == tasks.alert.name
    tasks.alert.apply()
    assert not Alert.objects.exists()


def test_while_workers_look_nobody_stands_in_for_them(board: Board) -> None:
    assert not watchman.step_in(at=timezone.now()), "Nobody has been started yet."
    signs(worker=7)
    looked(minutes=4)
    assert not watchman.step_in(at=timezone.now())
    assert not Alert.objects.exists()


def test_p7_the_watch_outlives_a_database_that_cannot_be_read_and_keeps_no_connection(
    board: Board, caplog: Any
) -> None:
    signs(worker=7)
    looked(minutes=7)
    watch = Watchman(every_seconds=0.01)
    caplog.set_level("INFO")
    try:
        with fakes.renamed("intervention_alert_watch", "looked_at"):
            watch.start()
            fakes.wait_until(lambda: caplog.text.count("watch.unread") > 1, what="it has looked in vain, and again")
        fakes.wait_until(lambda: board.taken, what="the web has told")
    finally:
        watch.stop()
    assert len(board.taken) == 1
    fakes.wait_until(lambda: not fakes.sql(fakes.OTHERS), what="PostgreSQL has noticed that it hung up")
