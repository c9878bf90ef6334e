"""Celery over Redis: a task for each item, published after the commit."""

from celery import Celery
from django.conf import settings
from django.db import transaction
from redis import Redis

from tests.peers import copying

app = Celery("peer")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()


@app.task(name="bring")
def bring(person: int) -> None:
    """Write one person's copy."""
    copying.bring(person)


def enqueue(person: int) -> None:
    """Publish after the commit: a crash between the two loses the message."""
    transaction.on_commit(lambda: bring.delay(person))


def fill(people: list[int]) -> None:
    """Leave one message for each."""
    Redis.from_url(settings.CELERY_BROKER_URL).flushdb()
    with app.producer_or_acquire() as producer:
        for person in people:
            bring.apply_async((person,), producer=producer)


def work(number: int) -> None:
    """Run one worker with two processes."""
    app.worker_main(["worker", "--loglevel=CRITICAL", "--without-gossip", "--without-mingle"])


def failures() -> str:
    """It keeps no record."""
    return "none recorded"
