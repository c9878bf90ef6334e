"""A save over the API looks at its copies once: a fan-out waits for that look, and never gets lost over it."""

from typing import Any

import pytest
from django.test import Client

from sync import delivery, receivers
from tests import fakes
from tests.factories import Cast
from therapists.models import Profile

ME = "/api/v1/therapists/me/"


@pytest.fixture
def ada(client: Client, cast: Cast) -> Client:
    client.force_login(cast.ada)
    client.raise_request_exception = False
    return client


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Whom the fan-out was asked for."""
    people: list[int] = []
    fan_out = delivery.fan_out

    def noted(person_id: int, **more: Any) -> bool:
        people.append(person_id)
        return fan_out(person_id, **more)

    monkeypatch.setattr("sync.delivery.fan_out", noted)
    return people


@pytest.fixture
def rings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often workers were rung."""
    heard: list[str] = []
    monkeypatch.setattr("sync.receivers.bell.ring", lambda: heard.append("rung"))
    return heard


def patched(ada: Client, bio: str) -> Any:
    return ada.patch(ME, {"bio": bio}, "application/json")


def copy(cast: Cast) -> str:
    return str(Profile.objects.get(user=cast.ada).bio)


def test_nobody_is_asked_for_where_the_database_made_the_copies(
    ada: Client, cast: Cast, asked: list[int], rings: list[str]
) -> None:
    assert patched(ada, "copied at commit").json()["degraded"] is False
    assert (copy(cast), asked, rings) == ("copied at commit", [], [])


@pytest.mark.usefixtures("copying_off")
def test_p1_what_the_look_shows_as_owed_is_brought_in_line_before_the_answer(
    ada: Client, cast: Cast, asked: list[int], rings: list[str]
) -> None:
    body = patched(ada, "copied by the request").json()
    assert (body["degraded"], body["syncStatus"]["synced"], copy(cast)) == (False, 3, "copied by the request")
    assert (asked, rings) == ([cast.ada.pk], [])


@pytest.mark.usefixtures("copying_off")
def test_p1_what_cannot_be_brought_in_line_now_is_left_to_workers_who_are_rung(
    ada: Client, cast: Cast, rings: list[str], settings: Any
) -> None:
    settings.SYNC_INLINE_BUDGET_MS = 0
    body = patched(ada, "later").json()
    assert (body["success"], body["degraded"], rings) == (True, True, ["rung"])
    fakes.settled()
    assert copy(cast) == "later"


@pytest.mark.usefixtures("copying_off")
def test_p1_an_answer_that_is_never_composed_leaves_no_copy_behind(
    ada: Client, cast: Cast, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("therapists.api.me.unreadable", broken)
    assert patched(ada, "saved, and never answered").status_code == 500
    assert (asked, copy(cast)) == ([cast.ada.pk], "saved, and never answered")


@pytest.mark.usefixtures("copying_off")
def test_a_look_that_fails_leaves_the_fan_out_to_find_out(
    ada: Client, cast: Cast, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("therapists.versions._NUMBERS", ("1 / 0", "0"))
    body = patched(ada, "unseen").json()
    assert (body["degraded"], body["revision"], asked, copy(cast)) == (False, None, [cast.ada.pk], "unseen")


def test_who_is_committed_in_a_block_is_fanned_out_once(cast: Cast, asked: list[int]) -> None:
    with receivers.held() as fan_out:
        cast.ada.save()
        assert (fan_out.people, asked) == ([cast.ada.pk], [])
        assert fan_out.let_go()
        assert (asked, fan_out.let_go()) == ([cast.ada.pk], False)
    cast.ben.save()
    assert asked == [cast.ada.pk, cast.ben.pk]
