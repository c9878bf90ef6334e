"""The Celery application. Messages are doorbells that carry ids; PostgreSQL owns what is due and when."""

import os
from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from celery.signals import beat_init, before_task_publish, task_postrun, task_prerun
from django.db import close_old_connections
from kombu.connection import Connection

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
