"""A ring wakes the workers and costs nothing: a frozen or refused Valkey is not the user's trouble (P3)."""

import json
import os
import signal
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from kombu.exceptions import OperationalError
from redis import Redis

from config.celery import app
from config.embedded import places, running, valkey
from sync.doorbell import Doorbell, bell
from tests import fakes
from tests.factories import Cast

LONGER_AT_MOST_MS = 50
# A process of its own, so that its Celery meets the broker for the first time as a web process does.
SAVES = """
import django, json, sys, time
django.setup()
from therapists.models import Enrollment
row = Enrollment.objects.get(user_id=int(sys.argv[1]))
took = []
for number in range(9):
    row.bio = f"saved {number}"
    started = time.perf_counter()
    row.save(update_fields=["bio"])
    took.append((time.perf_counter() - started) * 1000)
print(json.dumps(took))
"""


def saves(cast: Cast, redis_url: str) -> list[float]:
    """Save nine times in a process that leaves everything to the workers and so rings each time."""
    environment = os.environ | {
        "DATABASE_URL": fakes.database_url(), "REDIS_URL": redis_url, "SYNC_INLINE_BUDGET_MS": "0",
    }  # fmt: skip
    command = [sys.executable, "-W", "ignore", "-c", SAVES, str(cast.ada.pk)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60)
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """A Valkey that the test may freeze."""
    program = valkey.prepared(tmp_path)
    process = subprocess.Popen(program.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = places.redis_url(tmp_path)
    running.wait_for("Valkey", lambda: running.redis_answers(url))
    yield process, url
    process.kill()
    process.wait()


@pytest.mark.usefixtures("copying_off")
@pytest.mark.parametrize("trouble", ["frozen", "refused", "another password"])
def test_p3_a_save_does_not_wait_for_valkey(
    cast: Cast, own_valkey: tuple["subprocess.Popen[bytes]", str], trouble: str
) -> None:
    process, url = own_valkey
    usual = saves(cast, url)
    if trouble == "frozen":
        process.send_signal(signal.SIGSTOP)
    elif trouble == "refused":
        process.kill()
        process.wait()
    else:
        url = f"redis://:another@{url.rpartition('@')[2]}"
    try:
        took = saves(cast, url)
    finally:
        process.send_signal(signal.SIGCONT)
    assert statistics.median(took) <= statistics.median(usual) + LONGER_AT_MOST_MS
    assert max(took) <= max(usual) + 4 * LONGER_AT_MOST_MS, "the first ring connects, and must not be waited for"
    assert fakes.states(cast.ada.pk)["therapist_profiles"] == "due"


def test_p1_a_ring_reaches_the_queue_of_the_workers(cast: Cast, copying_off: None) -> None:
    with Redis.from_url(settings.REDIS_URL) as client:
        client.delete("high")
        bell.ring()
        fakes.wait_until(lambda: client.llen("high"), what="the ring is in the queue")
        message = json.loads(client.lindex("high", 0) or b"{}")
        assert message["headers"]["task"] == "sync.tasks.drain"
        assert message["headers"]["expires"], "a ring that nobody heard must not wait for ever"


class TestDoorbell:
    def test_p3_returns_at_once_and_makes_one_ring_of_those_that_come_meanwhile(self) -> None:
        doorbell, hung, go = Doorbell(), threading.Event(), threading.Event()
        sent: list[int] = []

        def send() -> None:
            sent.append(1)
            hung.set()
            go.wait(10)

        doorbell.connect(send)
        doorbell.ring()
        assert hung.wait(10)

        def ring_often() -> None:
            for _ in range(1000):
                doorbell.ring()

        assert fakes.milliseconds(ring_often) < 1000
        go.set()
        fakes.wait_until(lambda: len(sent) == 2, what="the others became one")

    @pytest.mark.parametrize("error", [OSError, RuntimeError, KeyError])
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_p1_rings_again_after_any_error(self, error: type[Exception]) -> None:
        doorbell, sent, served = Doorbell(), threading.Semaphore(0), set[threading.Thread]()

        def send() -> None:
            served.add(threading.current_thread())
            sent.release()
            raise error("the broker said no")

        doorbell.connect(send)
        for _ in range(3):
            doorbell.ring()
            assert sent.acquire(timeout=10)
        if error is KeyError:
            for thread in served:
                thread.join(10)  # its last words belong to this test, not to the next one


def test_a_worker_looks_every_second_whether_the_broker_is_back() -> None:
    """Waits that grow to half a minute made everything stand still for as long after a long outage."""
    gone = app.connection_for_read(url="redis://127.0.0.1:1/0")
    waits: list[float] = []
    with pytest.raises(OperationalError):
        gone.ensure_connection(lambda _, seconds: waits.append(seconds), 3)
    assert waits == [1, 1, 1]
