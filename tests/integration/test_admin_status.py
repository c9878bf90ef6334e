"""The status page for staff: what waits, for whom, since when; requests that nobody was told of; how each address fares."""

import datetime as dt
import re
import uuid

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from interventions.models import KeyedRequest
from sync.metrics import Fared
from tests import fakes
from tests.factories import Cast, UserFactory
from tests.forms import text
from therapists.models import Enrollment, User, UserType
from therapists.roles import OPERATOR

HERE = reverse("sync_status")
pytestmark = pytest.mark.django_db(transaction=True)


def desk_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def operator(cast: Cast) -> Client:
    user: User = UserFactory.create(user_type=UserType.STAFF, is_staff=True)
    user.groups.add(Group.objects.get(name=OPERATOR))
    return desk_of(user)


def test_says_that_nothing_waits(operator: Client) -> None:
    fakes.settled()
    said = text(operator.get(HERE))
    assert "Nobody's copies are behind." in said
    assert "Everybody was told." in said


def test_tells_what_waits_by_place_and_person_and_plans_its_retry(operator: Client, cast: Cast) -> None:
    with fakes.refusing("therapist_profiles", "bio <> 'refused'"):
        Enrollment.objects.filter(user=cast.ada).update(bio="refused")
        fakes.settled()
        said = text(operator.get(HERE))
    assert re.search(r"therapist_profiles 1 0 1 ", said)
    assert re.search(rf"Person {cast.ada.pk} therapist_profiles .* needs a person", said)
    planned = operator.post(reverse("admin:retries_plan"), {"query": ""})
    assert (planned.status_code, "/retries/" in planned["Location"]) == (302, True)
    assert "Retry all" not in text(desk_of(cast.vic).get(HERE))


def test_tells_what_debt_alone_knows(operator: Client, cast: Cast) -> None:
    with fakes.locked_row("therapist_profiles", cast.ada.pk):
        Enrollment.objects.filter(user=cast.ada).update(bio="While it is held.")
        assert re.search(rf"Person {cast.ada.pk} therapist_profiles .* tried by itself", text(operator.get(HERE)))


def test_tells_of_requests_that_had_their_effect_and_no_answer(operator: Client, cast: Cast) -> None:
    long_ago = timezone.now() - dt.timedelta(minutes=5)
    for at, route in ((long_ago, "/api/v1/lost/"), (timezone.now(), "/api/v1/under-way/")):
        KeyedRequest.objects.create(
            id=uuid.uuid4(), person_id=cast.ada.pk, key=route, method="PATCH", route=route, digest="", at=at
        )
    said = text(operator.get(HERE))
    assert f"Person {cast.ada.pk} PATCH /api/v1/lost/" in said
    assert "under-way" not in said


def test_tells_how_each_address_fares_and_never_rounds_up_to_all() -> None:
    assert Fared("me", "PATCH", 9_999, 0, 1).share == "99.9 %"
    assert Fared("me", "PATCH", 5, 5, 0).share == "100 %"


def written(client: Client) -> int:
    """How many changes of profiles were saved by this process, as the page says; whatever else ran in it counts too."""
    found = re.search(r"PATCH me [\d.]+ % (\d+) ", text(client.get(HERE)))
    return int(found[1]) if found else 0


def test_counts_what_was_written(operator: Client, cast: Cast) -> None:
    ada, before = desk_of(cast.ada), written(operator)
    ada.patch("/api/v1/therapists/me/", {"bio": "Counted."}, "application/json")
    assert written(operator) == before + 1
