"""Whoever is erased is withdrawn from every service that was told of them, and nothing of theirs stays for that."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from sync import breaker_state, calling, delivery, outside
from sync.models import Ledger
from tests import fakes
from tests.factories import therapist
from tests.integration.test_erasure import WORD, said_anywhere
from tests.stand_ins.control import Control, started
from tests.stand_ins.listing import SECRET
from therapists import erasure
from therapists.models import Enrollment, User

pytestmark = pytest.mark.django_db(transaction=True)
LISTING, ANALYTICS = "listing", "analytics"


@pytest.fixture(scope="module")
def stand_ins() -> Iterator[dict[str, Control]]:
    with started(LISTING, ANALYTICS) as (listing, analytics):
        yield {LISTING: listing, ANALYTICS: analytics}


@pytest.fixture
def zoe(stand_ins: dict[str, Control], settings: Any, tmp_path: Path) -> User:
    """Somebody whom a directory shows, with one rare word in every fact."""
    settings.MEDIA_ROOT, settings.SYNC_PRIVATE_ADDRESSES, settings.LISTING_SECRET = tmp_path, True, SECRET
    settings.LISTING_URL, settings.ANALYTICS_URL = stand_ins[LISTING].address, stand_ins[ANALYTICS].address
    settings.LISTING_READ_URL = f"{stand_ins[LISTING].address}/profiles"
    person = therapist(f"Zoe {WORD}", bio=f"{WORD} bio", phone=f"{WORD}1", specialization=f"{WORD}, CBT")
    Enrollment.objects.filter(user=person).update(status="approved")
    fakes.settled()
    for control in stand_ins.values():
        control.forget()
    outside.follow(at=timezone.now())
    told()
    assert messages(stand_ins[LISTING]) == [("profile.published", person.pk)]
    assert WORD in str(stand_ins[LISTING].effects)
    return person


def told() -> None:
    delivery.drain()
    breaker_state.pull_forward(timezone.now())
    for target in (LISTING, ANALYTICS):
        calling.call(target)


def a_minute_later() -> None:
    """Let the deletion take effect, and what was put off until then have its time."""
    fakes.sweep()
    Ledger.objects.filter(owed_since__isnull=False).update(next_attempt_at=timezone.now() - dt.timedelta(seconds=1))
    told()


def messages(control: Control) -> list[tuple[str, int]]:
    found = [json.loads(effect["body"]) for effect in control.effects]
    return [(message["type"], message["data"]["id"]) for message in found]


def erase(person: User) -> None:
    erasure.erase(subject=erasure.find(person_id=person.pk), by="user:1", at=timezone.now())


def withdrawn(control: Control) -> str:
    """Give the one message that withdrew somebody."""
    (body,) = [effect["body"] for effect in control.effects if "profile.withdrawn" in effect["body"]]
    return str(body)


def test_p7_a_service_is_told_by_id_alone_and_forgets(zoe: User, stand_ins: dict[str, Control]) -> None:
    erase(zoe)
    assert said_anywhere(WORD) == set(), "before anybody was told"
    told()
    a_minute_later()
    assert messages(stand_ins[LISTING])[-1] == ("profile.withdrawn", zoe.pk)
    assert "profile" not in json.loads(withdrawn(stand_ins[LISTING]))["data"]
    assert WORD not in withdrawn(stand_ins[LISTING])
    assert WORD not in str(stand_ins[ANALYTICS].received)
    assert said_anywhere(WORD) == set()
    assert not Ledger.objects.filter(person_id=zoe.pk, owed_since__isnull=False).exists()


def test_p7_a_service_that_is_down_is_told_when_it_is_back(zoe: User, stand_ins: dict[str, Control]) -> None:
    stand_ins[LISTING].follow({"do": "status", "status": 503})
    erase(zoe)
    a_minute_later()
    assert Ledger.objects.filter(person_id=zoe.pk, target=LISTING, owed_since__isnull=False).exists()
    assert said_anywhere(WORD) == set(), "what waits is an id"
    stand_ins[LISTING].follow()
    a_minute_later()
    assert withdrawn(stand_ins[LISTING])


def test_p2_an_edit_that_was_owed_is_told_no_more(zoe: User, stand_ins: dict[str, Control]) -> None:
    Enrollment.objects.filter(user=zoe).update(bio=f"{WORD} anew")
    erase(zoe)
    a_minute_later()
    assert [word for word, _ in messages(stand_ins[LISTING])] == ["profile.published", "profile.withdrawn"]
    assert said_anywhere(WORD) == set()
