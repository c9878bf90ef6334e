"""What a therapist is told of outside services after a save: nothing while they are well, and the truth while they are not."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from sync import calling, delivery, outside
from sync.models import Ledger, Service
from tests import fakes
from tests.factories import Cast
from tests.stand_ins.control import Control, started

pytestmark = pytest.mark.django_db(transaction=True)
ME, SYNC = "/api/v1/therapists/me/", "/api/v1/therapists/me/sync/"
TABLES = ["therapist_enrollments", "therapist_profiles", "users"]
ANALYTICS = "analytics"


@pytest.fixture(scope="module")
def analytics() -> Iterator[Control]:
    with started(ANALYTICS) as (control,):
        yield control


@pytest.fixture
def ada(cast: Cast, settings: Any, analytics: Control) -> Client:
    """A therapist of whom an analytics service has heard everything."""
    analytics.forget()
    settings.SYNC_PRIVATE_ADDRESSES, settings.ANALYTICS_URL = True, analytics.address
    fakes.settled()
    outside.follow(at=timezone.now())
    delivery.drain()
    calling.call(ANALYTICS)
    assert not Ledger.objects.filter(target=ANALYTICS, owed_since__isnull=False).exists()
    client = Client()
    client.force_login(cast.ada)
    return client


def saved(client: Client, bio: str) -> dict[str, Any]:
    answer = client.patch(ME, {"bio": bio}, "application/json")
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


def places(answer: dict[str, Any]) -> list[str]:
    return [one["target"] for one in answer["syncStatus"]["targets"]]


def test_a_healthy_service_that_is_about_to_hear_makes_no_save_look_amiss(ada: Client) -> None:
    assert Service.objects.filter(pk=ANALYTICS, is_configured=True).exists()

    answer = saved(ada, "New.")

    assert (answer["message"], answer["degraded"]) == ("Saved. Everything is up to date.", False)
    assert places(answer) == TABLES
    # Where one looks for it, it is told.
    now = ada.get(SYNC).json()
    assert (now["total"], now["synced"]) == (4, 3)


def test_p7_one_that_failed_is_told_of(ada: Client, analytics: Control) -> None:
    saved(ada, "New.")
    delivery.drain()
    analytics.follow({"do": "status", "status": 503})
    calling.call(ANALYTICS)

    answer = saved(ada, "Newer.")

    assert places(answer) == [ANALYTICS, *TABLES]
    assert answer["degraded"] is True
    assert "up to date; the rest follow" in answer["message"]


def test_p7_one_that_has_not_heard_for_long_is_told_of(ada: Client, cast: Cast) -> None:
    saved(ada, "New.")
    delivery.drain()
    long_ago = timezone.now() - dt.timedelta(minutes=5)
    assert Ledger.objects.filter(person_id=cast.ada.pk, target=ANALYTICS).update(owed_since=long_ago) == 1

    assert places(saved(ada, "Newer.")) == [ANALYTICS, *TABLES]
