"""The Celery application. Messages are doorbells that carry ids; PostgreSQL owns what is due and when."""

import os
from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from celery.signals import beat_init, before_task_publish, task_postrun, task_prerun
from django.db import close_old_connections
from kombu.connection import Connection

from interventions.correlation import is_harmless, request_id
from sync.pulse import BEAT, WORKER, pulse

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")


class Watchful(Connection):
    """
    A connection to the broker that looks every second whether a lost one is back.

    The library waits two seconds longer each time, up to thirty: after a long outage everything would stand still for as
    long again.
    """

    def ensure_connection(self, *args: Any, **words: Any) -> Any:
        """Connect, however often it takes; who names other intervals gets those."""
        patience = {"interval_start": 1, "interval_step": 0, "interval_max": 1}
        return super().ensure_connection(*args, **patience | words)  # type: ignore[no-untyped-call]


class WatchfulAMQP(AMQP):
    """Celery's messages over such connections."""

    Connection = Watchful


app = Celery("keepwell", amqp=WatchfulAMQP)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@before_task_publish.connect(dispatch_uid="keepwell.correlation")
def name_request(headers: Any = None, **_: Any) -> None:
    """Send along for whose request a task is rung: the id alone, and nothing where it is nobody's."""
    if isinstance(headers, dict) and (found := request_id.get()):
        headers["request_id"] = found


@task_prerun.connect(dispatch_uid="keepwell.correlation.begins")
def take_up_request(task_id: str = "", task: Any = None, **_: Any) -> None:
    """
    Let what a task logs and writes into history stand under the id of the request that rang, else under its own.

    Whoever can write to the broker may send anything: what could not be such an id is none.
    """
    given = getattr(getattr(task, "request", None), "request_id", None)
    request_id.set(given if is_harmless(given) else task_id.replace("-", ""))


@task_postrun.connect(dispatch_uid="keepwell.correlation.ends")
def put_down_request(**_: Any) -> None:
    """Let nothing that comes between two tasks stand under the first one's id."""
    request_id.set("")


@task_prerun.connect(dispatch_uid="keepwell.sessions")
def look_after_sessions(**_: Any) -> None:
    """
    Let each task begin with a session that works, as each request does.

    Connections are kept between tasks, and Django opens a new one only where it was told that the old one is broken: a
    worker that was idle while PostgreSQL went down would fail every task from then on.
    """
    close_old_connections()


@task_prerun.connect(dispatch_uid="keepwell.worker.begins")
@task_postrun.connect(dispatch_uid="keepwell.worker")
def tell_of_worker(task: Any = None, **_: Any) -> None:
    """
    Let a worker's tasks tell that it lives: a worker that hangs in one says nothing more.

    Before the first one, too: it may be the one that looks who is silent.
    """
    pulse.give(WORKER, str(getattr(getattr(task, "request", None), "hostname", "") or ""))


@beat_init.connect(dispatch_uid="keepwell.beat")
def watch_beat(**_: Any) -> None:
    """Let each tick of beat tell of it; the broker may be away, so it is told before the message is sent."""
    before_task_publish.connect(tell_of_beat, dispatch_uid="keepwell.tick")


def tell_of_beat(**_: Any) -> None:
    """Say that beat ticks."""
    pulse.give(BEAT)
