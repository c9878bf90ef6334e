"""Signs of life: given by work and by ticks, seldom, at no price, and forgotten in time."""

import datetime as dt

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from config.celery import app
from sync import pulse, tasks
from sync.pulse import Pulse
from tests import fakes

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_sign_is_given_again_only_after_a_while() -> None:
    one = Pulse()
    one.give(pulse.WORKER, "worker-1@here")
    (first,) = pulse.signs()
    with CaptureQueriesContext(connection) as queries:
        one.give(pulse.WORKER, "worker-1@here")
    assert len(queries) == 0
    Pulse().give(pulse.WORKER, "worker-1@here")
    (second,) = pulse.signs()
    assert second.at > first.at


def test_p3_a_sign_that_cannot_be_given_stops_nobody() -> None:
    with fakes.locked_table("sync_pulse"):
        took = fakes.milliseconds(lambda: Pulse().give(pulse.BEAT, "here"))
    assert took < 2_000
    assert pulse.signs() == []


def test_a_task_gives_the_sign_of_its_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse.pulse, "_said", -pulse.EVERY_SECONDS)
    app.tasks["sync.tasks.advance_retry_runs"].apply()
    assert [sign.role for sign in pulse.signs()] == [pulse.WORKER]


def test_who_has_been_gone_for_long_is_forgotten() -> None:
    Pulse().give(pulse.WORKER, "gone@there")
    Pulse().give(pulse.WORKER, "here@there")
    fakes.sql("UPDATE sync_pulse SET at = at - interval '8 days' WHERE name = 'gone@there'")
    tasks.prune()
    assert [sign.name for sign in pulse.signs()] == ["here@there"]


def test_silence_is_told_by_the_sweep(settings: object) -> None:
    now = timezone.now()
    assert not pulse.Sign(pulse.WORKER, "here", now - dt.timedelta(seconds=20)).is_silent(now)
    assert pulse.Sign(pulse.WORKER, "here", now - dt.timedelta(seconds=40)).is_silent(now)
    settings.SYNC_SWEEP_SECONDS = 60  # type: ignore[attr-defined]
    assert not pulse.Sign(pulse.WORKER, "here", now - dt.timedelta(seconds=170)).is_silent(now)
