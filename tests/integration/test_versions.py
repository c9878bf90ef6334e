"""Lost updates: who changes what somebody else has changed since is told both values; what was changed beside it stays."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from tests import fakes
from tests.factories import therapist
from therapists.models import Enrollment, User

ME = "/api/v1/therapists/me/"


@pytest.fixture
def person(transactional_db: None) -> User:
    found = therapist("Ada Quist")
    fakes.settled()
    return found


@pytest.fixture
def ada(person: User) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(person)
    return client


def patched(client: Client, tag: str, **changes: object) -> Any:
    return client.patch(ME, changes, "application/json", headers={"If-Match": tag})


def conflicts(answer: Any) -> dict[str, tuple[object, object]]:
    assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed"), answer.content
    faults = answer.json()["errors"]
    assert {(fault["code"], fault["pointer"]) for fault in faults} == {
        ("changed_since", f"#/{f['field']}") for f in faults
    }
    return {fault["field"]: (fault["sent"], fault["stored"]) for fault in faults}


def test_every_answer_names_the_version_that_it_shows(ada: Client) -> None:
    first = ada.get(ME)["ETag"]
    saved = patched(ada, first, bio="New.")
    assert (saved.status_code, saved["ETag"]) == (200, ada.get(ME)["ETag"])
    assert saved["ETag"] != first
    assert patched(ada, f'"1-1", {saved["ETag"]}', bio="Of two.").status_code == 200
    assert patched(ada, "*", bio="Of any.").status_code == 200


def test_what_somebody_else_changed_since_is_told_and_kept(ada: Client, person: User) -> None:
    seen = ada.get(ME)["ETag"]
    fakes.sql("UPDATE therapist_enrollments SET bio = 'Theirs.' WHERE user_id = %s", person.pk)
    refused = patched(ada, seen, bio="Mine.", phone="+44 1")
    assert conflicts(refused) == {"bio": ("Mine.", "Theirs.")}
    row = Enrollment.objects.get(user=person)
    assert (row.bio, row.phone) == ("Theirs.", "+44 20 7946 0000")
    assert patched(ada, ada.get(ME)["ETag"], bio="Mine.").status_code == 200


def test_what_was_changed_beside_it_or_to_the_same_is_no_conflict(ada: Client, person: User) -> None:
    seen = ada.get(ME)["ETag"]
    fakes.sql("UPDATE therapist_enrollments SET bio = 'Theirs.' WHERE user_id = %s", person.pk)
    fakes.sql("UPDATE users SET full_name = 'Ada Q.' WHERE id = %s", person.pk)
    merged = patched(ada, seen, phone="+44 1", bio="Theirs.")
    assert merged.status_code == 200
    assert {merged.json()["data"][name] for name in ("bio", "phone", "full_name")} == {"Theirs.", "+44 1", "Ada Q."}
    assert conflicts(patched(ada, seen, full_name="Mine")) == {"full_name": ("Mine", "Ada Q.")}


def test_what_bears_no_number_yet_counts_as_changed_with_its_row(ada: Client, person: User) -> None:
    seen = ada.get(ME)["ETag"]
    fakes.sql("UPDATE therapist_enrollments SET bio = 'Theirs.' WHERE user_id = %s", person.pk)
    with fakes.asleep():
        fakes.sql(
            "UPDATE therapist_enrollments SET last_changes = jsonb_build_object('bio', (last_changes -> 'bio') - 3)"
        )
    assert conflicts(patched(ada, seen, bio="Mine.")) == {"bio": ("Mine.", "Theirs.")}


def test_a_write_with_a_lower_number_that_is_committed_later_is_not_lost(
    ada: Client, person: User, second_connection: Any
) -> None:
    other = second_connection()
    other.execute("BEGIN")
    other.execute("UPDATE users SET full_name = 'Theirs' WHERE id = %s", [person.pk])
    seen = ada.patch(ME, {"bio": "Mine."}, "application/json")["ETag"]
    other.execute("COMMIT")
    assert conflicts(patched(ada, seen, full_name="Mine")) == {"full_name": ("Mine", "Theirs")}


def test_of_many_who_have_seen_the_same_one_changes_it(ada: Client, person: User) -> None:
    seen = ada.get(ME)["ETag"]

    def sent(number: int) -> Any:
        client = Client(raise_request_exception=False)
        client.cookies = ada.cookies
        try:
            return patched(client, seen, bio=f"Number {number}.")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(sent, range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    stored = Enrollment.objects.get(user=person).bio
    assert {conflicts(answer)["bio"][1] for answer in answers if answer.status_code == 412} == {stored}


@pytest.mark.parametrize("tag", ['"no-tag"', '""', 'W/"1-1"'])
def test_a_tag_that_is_none_of_ours_is_refused_with_what_stands_there(ada: Client, tag: str) -> None:
    if tag.startswith("W/"):
        tag = f"W/{ada.get(ME)['ETag']}"  # a weak tag never matches
    assert conflicts(patched(ada, tag, bio="Mine.")) == {"bio": ("Mine.", "Twelve years with couples.")}


@pytest.mark.parametrize("tag", ["", "1-1", '"open', '"1-1" "2-2"', "*\x85", "\xa0*", '"1-1"\xa0,"2-2"'])
def test_rubbish_is_no_tag(ada: Client, tag: str) -> None:
    answer = patched(ada, tag, bio="Mine.")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_if_match")
