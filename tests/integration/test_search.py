"""Finding items: by person, by id, by words of an error, and in bounded time."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from interventions import search
from interventions.models import Intervention
from tests import fakes
from tests.factories import therapists
from therapists.models import Enrollment, User

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def people() -> list[User]:
    """Three people whose profiles refuse their new texts."""
    with fakes.refusing("therapist_profiles", "bio <> 'No'"):
        found = therapists(3)
        Enrollment.objects.update(bio="No")
        fakes.settled()
    return found


def found(words: str) -> set[int | None]:
    return {
        item.person_id
        for item in Intervention.objects.filter(pk__in=search.matching(words, Intervention.objects.all()))
    }


def test_finds_by_name_address_and_ids(people: list[User]) -> None:
    one = people[0]
    User.objects.filter(pk=one.pk).update(full_name="Åsa Lindqvist", email="asa@clinic.example")
    item = Intervention.objects.get(person_id=one.pk)

    assert found("åsa") == found("LINDQ") == found("asa@clinic.example") == found("ASA@") == {one.pk}
    assert found(str(item.pk)) == {one.pk}
    assert one.pk in found(str(one.pk))
    assert found("nobody") == found("99999999") == found("9" * 30) == set()


def test_finds_what_was_resolved_by_person_and_by_error(people: list[User]) -> None:
    Enrollment.objects.update(bio="Yes")
    fakes.settled()
    assert not Intervention.objects.filter(resolved=False).exists()
    assert found("refused_on_purpose") == {person.pk for person in people}
    assert found(people[1].email) == {people[1].pk}


def test_of_words_only_the_newest_are_read_and_whole_addresses_find_all(
    people: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_RECENT", search._RECENT.replace(f"LIMIT {search.OPEN_LOOKED_AT}", "LIMIT 1"))
    assert len(found("refused_on_purpose")) == 1
    assert len(found("Person")) == 1
    assert [found(person.email) for person in people] == [{person.pk} for person in people]


def test_reads_no_text_of_the_whole_log(people: list[User]) -> None:
    with CaptureQueriesContext(connection) as asked:
        search.matching("refused", Intervention.objects.all())
    of_the_log = [query["sql"] for query in asked.captured_queries if "manual_intervention_log" in query["sql"]]
    assert of_the_log
    assert all("LIMIT" in statement for statement in of_the_log)
