"""What is sent as text: tidied at the edge, and absent, null and empty stay three things."""

from typing import Any

import pytest
from django.test import Client

from tests import fakes
from tests.factories import Cast
from therapists.api.me import HOW_TO_WRITE
from therapists.models import Enrollment, Profile

ME = "/api/v1/therapists/me/"


@pytest.fixture
def ada(cast: Cast) -> Client:
    client = Client()
    client.force_login(cast.ada)
    return client


def patched(client: Client, **changes: object) -> Any:
    answer = client.patch(ME, changes, "application/json")
    assert answer.status_code == 200, answer.content
    return answer.json()


def refused(client: Client, **changes: object) -> list[tuple[str, str, str]]:
    answer = client.patch(ME, changes, "application/json")
    assert answer.status_code == 400, answer.content
    return [(e["field"], e["code"], e["detail"]) for e in answer.json()["errors"]]


def test_is_stored_composed_and_without_what_cannot_be_seen(ada: Client, cast: Cast) -> None:
    data = patched(ada, full_name="Ada\u202e \n Quist\ufeff", bio="Cafe\u0301\r\n\x07Bar\t1", phone="+44  20\t1")[
        "data"
    ]
    assert (data["full_name"], data["bio"], data["phone"]) == ("Ada Quist", "Caf\u00e9\nBar\t1", "+44 20 1")
    assert Profile.objects.get(user=cast.ada).bio == "Caf\u00e9\nBar\t1"
    # What is nothing but that is empty, and empty is not a name.
    assert refused(ada, full_name="\u202e\x07 ")[0][:2] == ("full_name", "blank")
    assert refused(ada, bio="a\0b")[0][:2] == ("bio", "null_characters_not_allowed")
    # Counted as it is stored: each of these is one letter.
    assert len(patched(ada, bio="e\u0301" * 10_000)["data"]["bio"]) == 10_000
    assert refused(ada, bio="\u00e9" * 10_001)[0][:2] == ("bio", "max_length")


def test_that_is_absent_null_or_empty_is_each_that(ada: Client, cast: Cast) -> None:
    nullable = ("bio", "phone", "specialization", "experience_years")
    for value in (None, "", "text"):
        given = dict.fromkeys(nullable[:3], value) | {"experience_years": 0 if value == "" else None}
        data = patched(ada, **given)["data"]
        assert {name: data[name] for name in nullable} == given
        assert patched(ada)["data"] == data, "absent leaves it"
    row = Profile.objects.get(user=cast.ada)
    assert (row.bio, row.phone, row.specialization) == ("text", "text", ["text"])
    assert refused(ada, full_name=None)[0][:2] == ("full_name", "null")
    assert refused(ada, full_name="")[0][:2] == ("full_name", "blank")


@pytest.mark.parametrize("name", ["full_name", "bio", "phone", "specialization", "email"])
def test_that_is_a_number_is_refused_and_not_spelled_in_some_way(ada: Client, name: str) -> None:
    for number in (7, 4.4207946e11):
        assert [fault[:2] for fault in refused(ada, **{name: number})] == [(name, "invalid")]


@pytest.mark.parametrize(
    ("sent", "names"),
    [
        ("CBT; EMDR,  couples", ["CBT", "EMDR", "couples"]),
        (["CBT", " EMDR ", "Trauma, complex", 'the "second" wave', "[x]"], ["CBT", "EMDR", "Trauma, complex", 'the "second" wave', "[x]"]),
        ('["CBT", "Trauma, complex"]', ["CBT", "Trauma, complex"]),
        ('{CBT,"Trauma, complex"}', ["CBT", "Trauma, complex"]),
        ([], []),
        (["CBT", "cbt"], ["CBT"]),
    ],
)  # fmt: skip
def test_of_a_specialization_may_be_text_a_list_or_json(
    ada: Client, cast: Cast, sent: object, names: list[str]
) -> None:
    body = patched(ada, specialization=sent)
    assert (body["degraded"], body["warnings"]) == (False, [])
    assert isinstance(body["data"]["specialization"], str)
    assert Profile.objects.get(user=cast.ada).specialization == names


def test_of_a_specialization_that_is_none_says_what_to_send(ada: Client) -> None:
    assert refused(ada, specialization=["CBT", 7.5, None, ""]) == [
        ("specialization.1", "invalid", "Not a valid string."),
        ("specialization.2", "null", "This field may not be null."),
        ("specialization.3", "blank", "This field may not be blank."),
    ]
    for wrong in ({"a": 1}, True):
        (told,) = refused(ada, specialization=wrong)
        assert told[:2] == ("specialization", "invalid")
        assert 'as in ["CBT", "EMDR"]' in told[2]
    assert refused(ada, specialization=["x" * 201])[0][1] == "max_length"
    assert refused(ada, specialization=["x"] * 101)[0][1] == "max_length"
    assert refused(ada, specialization=[["nested"]])[0][:2] == ("specialization.0", "invalid")


def test_p3_of_a_specialization_that_cannot_be_read_is_saved_and_says_how_to_write_it(ada: Client, cast: Cast) -> None:
    body = patched(ada, specialization='["CBT", "EMDR')
    assert (body["degraded"], body["warnings"][0]) == (True, HOW_TO_WRITE)
    assert Enrollment.objects.get(user=cast.ada).specialization == '["CBT", "EMDR'
    assert not fakes.silently_behind() & {(cast.ada.pk, "therapist_profiles")}
    assert patched(ada, specialization='["CBT", "EMDR"]')["warnings"] == []
