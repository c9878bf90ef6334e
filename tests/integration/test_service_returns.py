"""A service that comes back is found soon, however long it was away, and costs no more than one process meanwhile."""

import datetime as dt
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from sync import breaker_state, calling, delivery, leases, ledger, outside, tasks
from sync.models import Breaker, Ledger
from tests import fakes
from tests.factories import therapists
from tests.stand_ins.control import Control, started
from tests.stand_ins.listing import SECRET
from therapists.models import User

pytestmark = pytest.mark.django_db(transaction=True)
LISTING = "listing"
DOWN = {"do": "status", "status": 503}
LONGEST = 25


@pytest.fixture(scope="module")
def directory() -> Iterator[Control]:
    with started("listing") as (control,):
        yield control


@pytest.fixture
def people(directory: Control, settings: Any) -> Iterator[list[User]]:
    """A dozen people of whom a directory was told."""
    settings.SYNC_PRIVATE_ADDRESSES, settings.LISTING_SECRET = True, SECRET
    settings.LISTING_URL = directory.address
    found = therapists(12)
    outside.follow(at=timezone.now())
    told()
    assert not owed()
    yield found
    directory.forget()


def told() -> None:
    delivery.drain()
    breaker_state.pull_forward(timezone.now())
    calling.call(LISTING)


def owe(people: list[User]) -> None:
    ledger.owe(people=[person.pk for person in people], targets=[LISTING], reason="test")


def owed() -> int:
    return Ledger.objects.filter(target=LISTING, owed_since__isnull=False).count()


def breaker() -> Breaker:
    return Breaker.objects.get(target=LISTING)


def left_alone(directory: Control, people: list[User], *, probes: int) -> list[float]:
    """Let it be down until so many probes have failed; gives after how many seconds each next one was to come."""
    directory.follow(DOWN)
    owe(people)
    told()
    assert breaker().word == "open"
    waits = []
    for _ in range(probes):
        Breaker.objects.filter(target=LISTING).update(probe_at=timezone.now())
        asked = len(directory.received)
        told()
        assert len(directory.received) == asked + 1, "one call, however many are owed"
        at = breaker().probe_at
        assert at
        waits.append((at - timezone.now()).total_seconds())
    return waits


class TestTheProbe:
    def test_p9_comes_within_half_a_minute_however_often_it_failed(
        self, directory: Control, people: list[User]
    ) -> None:
        waits = left_alone(directory, people, probes=9)
        assert max(waits) <= LONGEST
        assert min(waits) > LONGEST * breaker_state.PROBE_LEAST_SHARE - 2
        assert len({round(wait, 1) for wait in waits}) > 1, "at no beat that others share"

    def test_comes_no_sooner_than_the_service_asked_for(self, directory: Control, people: list[User]) -> None:
        left_alone(directory, people, probes=0)
        directory.follow(DOWN | {"retry_after": 300})
        Breaker.objects.filter(target=LISTING).update(probe_at=timezone.now())
        told()
        at = breaker().probe_at
        assert at
        assert at - timezone.now() > dt.timedelta(seconds=290)

    @pytest.mark.slow
    def test_p7_all_are_told_within_a_minute_of_its_return(self, directory: Control, people: list[User]) -> None:
        left_alone(directory, people, probes=6)
        directory.follow()
        returned = time.monotonic()
        while owed() and time.monotonic() - returned < 60:
            told()
            threading.Event().wait(0.5)
        assert owed() == 0
        assert {request["did"] for request in directory.received[-12:]} == {"ok"}


class TestItsTurn:
    def test_p9_is_given_by_one_process_however_many_come(
        self, directory: Control, people: list[User], settings: Any
    ) -> None:
        settings.SYNC_CALL_SECONDS = 3
        directory.follow({"do": "hang", "seconds": 30})
        asked = len(directory.received)
        owe(people)
        delivery.drain()
        first = threading.Thread(target=hung_up)
        first.start()
        fakes.wait_until(lambda: len(directory.received) > asked, what="The first call")
        assert leases.is_due(LISTING), "there is more to tell"
        began = time.monotonic()
        assert calling.call_all() is False
        assert time.monotonic() - began < 2
        assert len(directory.received) == asked + 1
        first.join()
        directory.follow()
        assert calling.call_all() is True, "whoever gave the turn has let it go"

    def test_p9_rings_for_nobody_while_it_is_left_alone_but_at_the_sweep(
        self, directory: Control, people: list[User]
    ) -> None:
        left_alone(directory, people, probes=1)
        calling.call(LISTING)
        Ledger.objects.filter(target=LISTING, owed_since__isnull=False).update(is_paused=True)
        rings = threading.Semaphore(0)
        send = calling.bell._send
        calling.bell.connect(rings.release)
        try:
            tasks.call()
            assert not rings.acquire(timeout=1)
            calling.wake(is_sweep=True)
            assert rings.acquire(timeout=10)
        finally:
            if send is not None:
                calling.bell.connect(send)


def hung_up() -> None:
    try:
        calling.call_all(seconds=1)
    finally:
        connection.close()
