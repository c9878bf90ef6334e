"""The drill's page: for leads in development, by POST, and gone in production."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from tests.factories import Cast, UserFactory
from therapists import drill
from therapists.models import User, UserType
from therapists.roles import LEAD, sync_groups

ADDRESS = "/admin/drill/"


@pytest.fixture(autouse=True)
def mended(transactional_db: None) -> Iterator[None]:
    yield
    drill.mend_all()


@pytest.fixture
def lena(transactional_db: None) -> User:
    sync_groups()
    lena: User = UserFactory.create(email="lena@example.org", is_staff=True, user_type=UserType.STAFF)
    lena.groups.set(Group.objects.filter(name=LEAD))
    return lena


@pytest.fixture
def desk(lena: User, settings: Any) -> Client:
    settings.DEBUG = True
    client = Client()
    client.force_login(lena)
    return client


def is_broken(name: str) -> bool:
    return {fault.name: fault.is_on for fault in drill.faults()}[name]


def told(client: Client, **form: str) -> str:
    answer = client.post(ADDRESS, form, follow=True)
    assert answer.redirect_chain == [(ADDRESS, 302)]
    return " ".join(str(message) for message in answer.context["messages"])


def test_lists_every_fault_with_what_it_does(desk: Client) -> None:
    text = desk.get(ADDRESS).content.decode()
    assert all(fault.title in text and f'value="{fault.name}"' in text for fault in drill.faults())
    assert "broken" not in text


def test_breaks_and_mends_by_post(desk: Client) -> None:
    assert "edit a therapist" in told(desk, action="break", name="refuse")
    assert is_broken("refuse")
    assert ">broken<" in desk.get(ADDRESS).content.decode()
    assert "Mended." in told(desk, action="mend", name="refuse")
    assert not is_broken("refuse")


def test_mends_everything_at_once(desk: Client) -> None:
    told(desk, action="break", name="refuse")
    told(desk, action="break", name="rename")
    assert "Everything is mended" in told(desk, action="mend_all")
    assert not any(fault.is_on for fault in drill.faults())


@pytest.mark.parametrize("form", [{}, {"action": "burn", "name": "refuse"}, {"action": "break", "name": "nothing"}])
def test_changes_nothing_that_it_does_not_know(form: dict[str, str], desk: Client) -> None:
    assert "nothing was changed" in told(desk, **form)
    assert not any(fault.is_on for fault in drill.faults())


def test_a_get_changes_nothing(desk: Client) -> None:
    assert desk.get(f"{ADDRESS}?action=break&name=refuse").status_code == 200
    assert not is_broken("refuse")


def test_a_post_needs_its_token(lena: User, settings: Any) -> None:
    settings.DEBUG = True
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(lena)
    assert strict.post(ADDRESS, {"action": "break", "name": "refuse"}).status_code == 403
    assert not is_broken("refuse")


def test_is_not_there_for_others(cast: Cast, settings: Any) -> None:
    settings.DEBUG = True
    client = Client()
    assert client.get(ADDRESS).status_code == 302  # to the sign-in
    for user in (cast.sam, cast.vic):
        client.force_login(user)
        assert client.get(ADDRESS).status_code == 404
        assert client.post(ADDRESS, {"action": "break", "name": "refuse"}).status_code == 404
    assert not is_broken("refuse")


@pytest.mark.parametrize("method", ["get", "post"])
def test_is_not_there_in_production_for_anybody(method: str, desk: Client, settings: Any) -> None:
    settings.DEBUG = False
    root = UserFactory.create(is_staff=True, is_superuser=True, user_type=UserType.STAFF)
    desk.force_login(root)
    assert getattr(desk, method)(ADDRESS, {"action": "break", "name": "refuse"}).status_code == 404
    assert Client().get(ADDRESS).status_code == 404
    assert not is_broken("refuse")
    assert reverse("drill") not in desk.get(reverse("admin:index")).content.decode()
