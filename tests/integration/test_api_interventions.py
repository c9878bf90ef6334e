"""P7, P8: items over HTTP: looked at, retried, resolved, and told to whoever comes second."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from interventions.models import History, Intervention
from tests import fakes
from tests.factories import Cast, UserFactory
from therapists.models import Enrollment, Profile, User, UserType
from therapists.roles import OPERATOR

ITEMS = "/api/v1/interventions/"


@pytest.fixture
def item(cast: Cast) -> Intervention:
    """Ada's new bio was refused by the profiles' table, which is mended now."""
    with fakes.refusing("therapist_profiles", "bio <> 'refused'"):
        enrollment = Enrollment.objects.get(user=cast.ada)
        enrollment.bio = "refused"
        enrollment.save(update_fields=["bio"])
    return Intervention.objects.get(person_id=cast.ada.pk)


@pytest.fixture
def sam(cast: Cast, client: Client) -> Client:
    """May accept a difference."""
    client.force_login(cast.sam)
    return client


@pytest.fixture
def olga(transactional_db: None) -> Client:
    """An operator: may retry and resolve, but not accept."""
    person = UserFactory.create(full_name="Olga Brandt", user_type=UserType.STAFF, is_staff=True)
    person.groups.add(Group.objects.get(name=OPERATOR))
    client = Client()
    client.force_login(person)
    return client


def posted(client: Client, item: Intervention, action: str, **body: str) -> Any:
    return client.post(f"{ITEMS}{item.pk}/{action}/", body, "application/json")


class TestTheList:
    def test_is_narrowed_by_state_target_and_cause(self, sam: Client, item: Intervention) -> None:
        assert [row["id"] for row in sam.get(ITEMS).json()["results"]] == [str(item.pk)]
        for query, count in [
            ("state=open", 1), ("state=resolved", 0), ("target=therapist_profiles", 1), ("target=users", 0),
            (f"cause={item.cause}", 1), ("cause=other", 0), (f"state=open&cause={item.cause}&target=users", 0),
        ]:  # fmt: skip
            assert len(sam.get(f"{ITEMS}?{query}").json()["results"]) == count, query

    def test_names_the_person_and_no_values(self, sam: Client, item: Intervention) -> None:
        row = sam.get(ITEMS).json()["results"][0]
        assert (row["person"], row["target"], row["state"], row["code"]) == (
            "Ada Quist",
            "therapist_profiles",
            "open",
            "23514",
        )
        assert "refused on purpose" not in str(row)
        assert "ada.quist@example.org" not in str(row)

    def test_follows_its_pages_while_items_come(self, sam: Client) -> None:
        for n in range(7):
            Intervention.objects.create(operation=f"by hand {n}", error="x")
        seen: list[str] = []
        address = f"{ITEMS}?page_size=3"
        while address:
            page = sam.get(address).json()
            Intervention.objects.create(operation=f"later {len(seen)}", error="x")
            seen += [row["operation"] for row in page["results"]]
            address = page["next"]
        assert seen == [f"by hand {n}" for n in reversed(range(7))]


class TestOneItem:
    def test_shows_its_history_and_what_a_retry_would_write(self, sam: Client, item: Intervention) -> None:
        body = sam.get(f"{ITEMS}{item.pk}/").json()
        assert [line["action"] for line in body["history"]] == ["opened"]
        assert (body["is_equal"], bool(body["outlook"])) == (False, True)

    def test_without_a_person_has_no_two_sides(self, sam: Client) -> None:
        item = Intervention.objects.create(operation="by hand", error="x")
        body = sam.get(f"{ITEMS}{item.pk}/").json()
        assert (body["is_equal"], body["person"], body["next_try_at"]) == (None, None, None)
        assert posted(sam, item, "retry").json()["code"] == "not_possible"


class TestRetry:
    def test_makes_it_due_and_the_workers_mend_it(self, olga: Client, item: Intervention, cast: Cast) -> None:
        body = posted(olga, item, "retry").json()
        assert body["message"].startswith("It is being tried again. Two of three places are up to date")
        assert (body["data"]["state"], body["degraded"]) == ("retrying", True)
        fakes.settled()
        item.refresh_from_db()
        assert (item.resolved, item.resolution) == (True, "auto")
        assert Profile.objects.get(user=cast.ada).bio == "refused"

    def test_asked_for_twice_tells_who_was_first(self, olga: Client, sam: Client, item: Intervention) -> None:
        assert posted(sam, item, "retry").status_code == 200
        answer = posted(olga, item, "retry")
        assert (answer.status_code, answer.json()["code"]) == (409, "already_retrying")
        assert "Sam Reyes" in answer.json()["detail"]

    def test_takes_no_words(self, olga: Client, item: Intervention) -> None:
        assert posted(olga, item, "retry", note="please").status_code == 400
        item.refresh_from_db()
        assert item.state == "open"


class TestResolve:
    def test_is_refused_while_the_sides_differ(self, olga: Client, item: Intervention) -> None:
        for note in ("", "I say so."):
            answer = posted(olga, item, "resolve", note=note)
            assert (answer.status_code, answer.json()["code"]) == (409, "not_possible")
            assert "still differ" in answer.json()["detail"]
        item.refresh_from_db()
        assert item.resolved is False

    def test_accepts_a_difference_with_a_note_from_who_may(self, sam: Client, item: Intervention, cast: Cast) -> None:
        assert posted(sam, item, "resolve").status_code == 409
        stale = posted(sam, item, "resolve", note="Agreed by phone.", seen="another difference")
        assert (stale.status_code, stale.json()["code"]) == (409, "not_possible")
        seen = sam.get(f"{ITEMS}{item.pk}/").json()["digest"]
        body = posted(sam, item, "resolve", note="Agreed by phone.", seen=seen).json()
        assert body["message"].startswith("Resolved: the difference was accepted.")
        assert (body["data"]["resolution"], body["data"]["resolution_notes"]) == ("accepted", "Agreed by phone.")
        line = History.objects.of("intervention", str(item.pk)).last()
        assert line is not None
        assert (line.actor, line.action) == (f"user:{cast.sam.pk}", "accepted:accepted")

    def test_of_equal_sides_needs_no_note_and_tells_the_second_who_when_and_what(
        self, olga: Client, sam: Client, item: Intervention
    ) -> None:
        with fakes.asleep():
            Profile.objects.filter(bio="Twelve years with couples.", user__full_name="Ada Quist").update(bio="refused")
        body = posted(olga, item, "resolve").json()
        assert body["message"].startswith("Resolved: both sides are equal.")
        assert body["data"]["resolution"] == "verified"
        for action in ("resolve", "retry"):
            answer = posted(sam, item, action)
            assert (answer.status_code, answer.json()["code"]) == (409, "already_resolved")
            assert answer.json()["detail"].startswith("Olga Brandt resolved this at 20")

    def test_by_nobody_who_was_deleted_still_reads(self, sam: Client, item: Intervention) -> None:
        Intervention.objects.filter(pk=item.pk).update(resolved=True, resolved_by="sql:postgres")
        assert "sql:postgres resolved this" in posted(sam, item, "resolve").json()["detail"]
        Intervention.objects.filter(pk=item.pk).update(resolved_by="user:999999")
        assert User.objects.filter(pk=999_999).exists() is False
        assert posted(sam, item, "resolve").status_code == 409
