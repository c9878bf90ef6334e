"""Directories that leads enter: each a target of its own, with a secret that is shown once and kept sealed."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from interventions.models import History
from sync import calling, delivery, secrets
from sync.models import Endpoint, Ledger
from tests import fakes
from tests.factories import Cast, UserFactory
from tests.stand_ins.control import Control, started
from therapists.models import Enrollment
from therapists.roles import LEAD, sync_groups

PAGE = "/admin/outside/"


@pytest.fixture(scope="module")
def directory() -> Iterator[Control]:
    with started("listing") as (control,):
        yield control


@pytest.fixture
def lead(cast: Cast, settings: Any, directory: Control) -> Client:
    """A lead at a desk whose directories may be on this machine."""
    settings.SYNC_PRIVATE_ADDRESSES = True
    directory.forget()
    fakes.settled()
    sync_groups()
    person = UserFactory.create(full_name="Lena", user_type="staff", is_staff=True)
    person.groups.set(Group.objects.filter(name=LEAD))
    client = Client()
    client.force_login(person)
    return client


def enter(client: Client, url: str, **more: str) -> str:
    """Enter a directory, and give the secret that is shown."""
    answer = client.post(PAGE, {"name": "North", "url": url, "read_url": "", "action": "add"} | more)
    assert "no-store" in answer["Cache-Control"]
    text = answer.content.decode()
    return text[text.index("<code>") + 6 : text.index("</code>")]


def act(client: Client, action: str, **words: str) -> str:
    answer = client.post(f"{PAGE}{Endpoint.objects.get().pk}/", {"action": action} | words, follow=True)
    return answer.content.decode()


def test_a_directory_is_entered_tested_told_rotated_and_switched_off(
    lead: Client, directory: Control, cast: Cast
) -> None:
    assert "not configured" in lead.get(PAGE).content.decode()
    secret = enter(lead, f"{directory.address}/")
    endpoint = Endpoint.objects.get()
    assert secret.startswith("whsec_")
    assert secret not in endpoint.secret
    assert secrets.opened(endpoint.secret) == secret
    assert secret not in lead.get(f"{PAGE}{endpoint.pk}/").content.decode()

    assert "credentials" in act(lead, "test"), "the directory knows another secret"
    assert [request["headers"]["webhook-id"].partition(":")[0] for request in directory.received] == ["test"]

    name = f"listing-{endpoint.pk}"
    delivery.drain()
    assert Ledger.objects.filter(target=name, owed_since__isnull=False).exists(), "it owes everybody"
    assert f"/admin/targets/{name}/" in lead.get(PAGE).content.decode()
    assert lead.get(f"/admin/targets/{name}/").status_code == 200
    calling.call(name)
    page = lead.get(f"{PAGE}{endpoint.pk}/").content.decode()
    assert "KW011" in page

    act(lead, "rotate")
    endpoint.refresh_from_db()
    assert secrets.opened(endpoint.older_secret) == secret
    directory.forget()
    act(lead, "test")
    assert len(directory.received[0]["headers"]["webhook-signature"].split()) == 2, "signed with both"
    act(lead, "drop")
    endpoint.refresh_from_db()
    assert endpoint.older_secret == ""

    act(lead, "off")
    assert not Ledger.objects.filter(target=name, owed_since__isnull=False).exists()
    assert name not in fakes.states(cast.ada.pk)
    done = History.objects.filter(object_type="endpoint").order_by("id").values_list("action", flat=True)
    assert list(done) == [
        "endpoint_added", "endpoint_tested", "endpoint_secret_rotated", "endpoint_tested", "endpoint_secret_dropped",
        "endpoint_off",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "url",
    ["", "ftp://directory.example/", "http://directory.example/", "https://user:word@directory.example/", "https:///"],
)
def test_an_address_that_is_none_is_refused(lead: Client, settings: Any, url: str) -> None:
    settings.SYNC_PRIVATE_ADDRESSES = False
    answer = lead.post(PAGE, {"name": "North", "url": url, "action": "add"})
    assert "An address begins with https://" in answer.content.decode()
    assert not Endpoint.objects.exists()


def test_a_bad_directory_holds_back_no_good_one(lead: Client, directory: Control, cast: Cast) -> None:
    enter(lead, "http://127.0.0.1:1/")
    enter(lead, f"{directory.address}/", name="South")
    north, south = (f"listing-{pk}" for pk in Endpoint.objects.order_by("pk").values_list("pk", flat=True))
    calling.call(north)
    calling.call(south)
    assert Ledger.objects.filter(target=north, last_error_code="KW022").exists()
    assert set(Ledger.objects.filter(target=south, attempts__gt=0).values_list("last_error_code", flat=True)) == {
        "KW011"
    }
    Enrollment.objects.filter(user=cast.ada).update(bio="Anew.")
    delivery.drain()
    assert {target for target in fakes.states(cast.ada.pk) if target.startswith("listing")} == {north, south}


def test_a_key_is_rotated_and_one_that_is_gone_is_said(settings: Any) -> None:
    settings.ENDPOINT_KEYS = ["first"]
    sealed = secrets.seal("whsec_word")
    settings.ENDPOINT_KEYS = ["second", "first"]
    again = secrets.renewed(sealed)
    settings.ENDPOINT_KEYS = ["second"]
    assert again is not None
    assert secrets.opened(again) == "whsec_word"
    assert secrets.opened(sealed) is None
