"""What a request rings for stands under the request's id, in the worker too; and nobody else's word for one is taken."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from celery.signals import task_prerun
from celery.worker.request import Request
from django.conf import settings as configured
from django.test import Client
from redis import Redis

from config.celery import app
from interventions.correlation import request_id
from interventions.models import History
from sync.doorbell import bell
from tests import fakes
from tests.factories import Cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def queue() -> Iterator[Redis]:
    with Redis.from_url(configured.REDIS_URL) as client:
        client.delete("high")
        yield client
        client.delete("high")


def rung(queue: Redis, *, by: str | None) -> dict[str, Any]:
    """Wait for the ring of a request, or of none; give its headers, and leave it alone in the queue."""
    found: list[bytes | str] = []

    def is_there() -> bool:
        every = [(message, json.loads(message)["headers"].get("request_id")) for message in queue.lrange("high", 0, -1)]
        found[:] = [message for message, told in every if told == by]
        return bool(found)

    fakes.wait_until(is_there, what="the ring is in the queue")
    queue.delete("high")
    queue.lpush("high", found[0])
    headers: dict[str, Any] = json.loads(found[0])["headers"]
    return headers


def carried_out(**headers: Any) -> None:
    """Take the message, and carry it out as a worker's process does."""
    with app.connection_for_read() as broker, broker.SimpleQueue("high") as high:
        message = high.get(timeout=10)
        message.headers |= headers
        task = app.tasks[message.headers["task"]]
        Request(message, app=app, task=task, on_ack=lambda *_: message.ack()).execute()


def opened() -> list[str]:
    """Give the ids under which interventions were opened, each once."""
    lines = History.objects.filter(object_type="intervention").order_by("id")
    return list(dict.fromkeys(lines.values_list("request_id", flat=True)))


def test_what_a_worker_does_for_a_request_stands_under_its_id(cast: Cast, settings: Any, queue: Any) -> None:
    settings.SYNC_INLINE_BUDGET_MS = 0
    client = Client()
    client.force_login(cast.ada)
    with fakes.refusing("therapist_profiles", "bio <> 'Rung for.'"):
        client.patch(
            "/api/v1/therapists/me/", {"bio": "Rung for."}, "application/json", headers={"X-Request-ID": "rung-42"}
        )
        rung(queue, by="rung-42")
        carried_out()
    assert "rung-42" in opened()
    assert request_id.get() == "", "what comes after the task is not the request's"


def test_a_ring_of_nobodys_request_stands_under_the_tasks_own_id(queue: Any) -> None:
    bell.ring()
    headers = rung(queue, by=None)
    heard: list[str] = []

    def hear(**_: Any) -> None:
        heard.append(request_id.get())

    task_prerun.connect(hear)
    try:
        carried_out()
        bell.ring()
        rung(queue, by=None)
        carried_out(request_id="ada@example.org\n{}")
    finally:
        task_prerun.disconnect(hear)
    assert heard[0] == headers["id"].replace("-", "")
    assert len(heard[1]) == 32, "what could be no id is none"
