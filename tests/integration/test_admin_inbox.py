"""The desk in the admin: who may do what, what it says, and what it refuses."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from interventions import patience
from interventions.admin import changelist
from interventions.admin.sentences import BUSY
from interventions.models import History, Intervention, State
from interventions.operations import log_manual_intervention_needed
from tests import fakes
from tests.factories import UserFactory, therapists
from therapists.models import Enrollment, Profile, User

INBOX = reverse("admin:interventions_intervention_changelist")
HISTORY = reverse("admin:interventions_history_changelist")
RETRY = reverse("admin:interventions_intervention_retry")
RESOLVE = reverse("admin:interventions_intervention_resolve")
pytestmark = pytest.mark.django_db(transaction=True)


def staff(*permissions: str) -> User:
    user = UserFactory.create(user_type="staff", is_staff=True, full_name="Sam Staff")
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def desk(*permissions: str) -> Client:
    """A browser of somebody who may look, and what else is named."""
    client = Client()
    client.force_login(staff("view_intervention", *permissions))
    return client


@pytest.fixture
def refused() -> Any:
    """Two people whose profiles refuse their new bios, so that each has an item."""
    with fakes.refusing("therapist_profiles", "bio <> 'No'"):
        people = therapists(2)
        Enrollment.objects.update(bio="No")
        fakes.settled()
        yield people


def items() -> list[Intervention]:
    return list(Intervention.objects.order_by("timestamp", "pk"))


def change_page(item: Intervention) -> str:
    return reverse("admin:interventions_intervention_change", args=[item.pk])


class TestInbox:
    def test_shows_what_needs_a_person_first(self, refused: list[User]) -> None:
        page = desk().get(INBOX).content.decode()
        assert "<b>therapist_profiles</b>" in page
        assert "refuses the value by a CHECK constraint (refused_on_purpose)" in page
        assert refused[0].full_name in page
        assert "Needs a person" in page

    def test_says_what_it_means_to_be_empty(self) -> None:
        assert "Nothing needs a person." in desk().get(INBOX).content.decode()
        assert "No match." in desk().get(INBOX, {"q": "nobody"}).content.decode()

    def test_finds_by_the_name_of_the_person(self, refused: list[User]) -> None:
        page = desk().get(INBOX, {"q": refused[0].full_name}).content.decode()
        assert refused[0].full_name in page
        assert refused[1].full_name not in page

    def test_leads_from_a_cause_to_its_items(self, refused: list[User]) -> None:
        cause = items()[0].cause
        page = desk().get(INBOX, {"cause__exact": cause}).content.decode()
        assert page.count('class="kw-what"') == 2
        assert desk().get(INBOX, {"cause__exact": "other"}).content.decode().count('class="kw-what"') == 0

    def test_keeps_resolved_items_in_their_own_tab(self, refused: list[User]) -> None:
        Enrollment.objects.filter(user=refused[0]).update(bio="Yes")
        fakes.settled()
        assert refused[0].full_name not in desk().get(INBOX).content.decode()
        assert refused[0].full_name in desk().get(INBOX, {"tab": "resolved"}).content.decode()

    def test_costs_as_many_queries_for_many_items_as_for_few(self, refused: list[User]) -> None:
        client = desk("retry_intervention")
        client.get(INBOX)
        with CaptureQueriesContext(connection) as few:
            client.get(INBOX)
        Intervention.objects.bulk_create(
            Intervention(operation=f"other{n}", entity_id=str(n), person_id=refused[0].pk, target="users", error="x")
            for n in range(20)
        )
        with CaptureQueriesContext(connection) as many:
            client.get(INBOX)
        assert len(many) <= len(few) <= 25

    def test_never_counts_or_searches_the_whole_log(self, refused: list[User]) -> None:
        client = desk("view_history")
        for page in (INBOX, f"{INBOX}?tab=all", HISTORY):
            with CaptureQueriesContext(connection) as asked:
                assert client.get(page).status_code == 200
            for query in asked.captured_queries:
                if "manual_intervention_log" in query["sql"] or "intervention_history" in query["sql"]:
                    assert "DISTINCT" not in query["sql"]
                    assert "COUNT(*)" not in query["sql"] or "LIMIT" in query["sql"]

    def test_calls_no_bounded_count_the_number_of_rows(
        self, refused: list[User], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert "(Show all)" not in desk().get(INBOX).content.decode()
        assert "or more" not in desk().get(INBOX).content.decode()
        monkeypatch.setattr(changelist, "MOST_PAGED", 2)
        assert "2 or more" in desk().get(INBOX).content.decode()

    def test_filters_by_a_reason_in_words(self, refused: list[User]) -> None:
        page = desk().get(INBOX).content.decode()
        assert "23514: the place refuses the value by a CHECK constraint" in page
        assert desk().get(INBOX, {"code": "23514"}).content.decode().count('class="kw-what"') == 2
        assert "No match." in desk().get(INBOX, {"code": "22001"}).content.decode()
        assert "No match." in desk().get(INBOX, {"target": "users"}).content.decode()


class TestHistory:
    def test_names_who_did_what_and_leads_there(self, refused: list[User]) -> None:
        desk("retry_intervention").post(RETRY, {"item": str(items()[0].pk)})
        page = desk("view_history").get(HISTORY).content.decode()
        assert "Sam Staff" in page
        assert "Retry asked for" in page
        assert change_page(items()[0]) in page
        narrowed = desk("view_history").get(HISTORY, {"action": "retry"}).content.decode()
        assert narrowed.count("kw-link") == 1


class TestPermission:
    def test_is_needed_to_look(self) -> None:
        client = Client()
        client.force_login(staff())
        assert client.get(INBOX).status_code == 403

    def test_hides_buttons_that_would_be_refused(self, refused: list[User]) -> None:
        looking, retrying = desk(), desk("retry_intervention")
        for page in (INBOX, change_page(items()[0])):
            assert ">Retry<" not in looking.get(page).content.decode()
            assert ">Retry now<" not in looking.get(page).content.decode()
            assert 'name="item"' in retrying.get(page).content.decode()
        assert "Mark resolved" not in retrying.get(change_page(items()[0])).content.decode()

    @pytest.mark.parametrize(("url", "needed"), [(RETRY, "retry_intervention"), (RESOLVE, "resolve_intervention")])
    def test_is_asked_again_by_the_action_itself(self, refused: list[User], url: str, needed: str) -> None:
        item = items()[0]
        assert desk().post(url, {"item": str(item.pk)}).status_code == 403
        assert desk(needed).post(url, {"item": str(item.pk)}).status_code in {200, 302}

    def test_nobody_adds_edits_or_deletes_an_item(self, refused: list[User]) -> None:
        root = Client()
        root.force_login(UserFactory.create(is_staff=True, is_superuser=True))
        base = f"{INBOX}{items()[0].pk}"
        assert root.get(f"{INBOX}add/").status_code == 403
        assert root.post(f"{base}/delete/", {"post": "yes"}).status_code == 403
        root.post(f"{base}/change/", {"state": "resolved"})
        assert items()[0].state == State.OPEN


class TestRetry:
    def test_never_happens_by_reading(self, refused: list[User]) -> None:
        assert desk("retry_intervention").get(RETRY, {"item": str(items()[0].pk)}).status_code == 405
        assert items()[0].state == State.OPEN

    def test_says_in_numbers_what_it_did(self, refused: list[User]) -> None:
        client = desk("retry_intervention")
        selected = {"action": "retry_selected", "_selected_action": [str(item.pk) for item in items()]}
        assert "2 retries started." in client.post(INBOX, selected, follow=True).content.decode()
        again = client.post(RETRY, {"item": [str(item.pk) for item in items()]}, follow=True).content.decode()
        assert "0 retries started, 2 were retrying or resolved already." in again

    def test_leaves_the_item_open_when_the_target_fails_again(self, refused: list[User]) -> None:
        desk("retry_intervention").post(RETRY, {"item": str(items()[0].pk)})
        assert items()[0].state == State.RETRYING
        fakes.settled()
        assert items()[0].state == State.OPEN
        assert "Retry failed" in desk().get(change_page(items()[0])).content.decode()

    def test_ignores_an_address_outside(self, refused: list[User]) -> None:
        asked = {"item": str(items()[0].pk), "next": "https://elsewhere.example/"}
        assert desk("retry_intervention").post(RETRY, asked)["Location"] == INBOX


class TestItem:
    def test_shows_both_sides_and_the_word(self, refused: list[User]) -> None:
        page = desk().get(change_page(items()[0])).content.decode()
        assert page.count(">differs<") == 1
        assert "source" in page
        assert "A retry writes bio from therapist_enrollments into therapist_profiles" in page

    def test_shows_where_long_texts_differ(self, refused: list[User]) -> None:
        with fakes.asleep():
            Enrollment.objects.update(bio="same " * 100 + "wanted end")
            fakes.sql("UPDATE therapist_profiles SET bio = %s", "same " * 100 + "other end")
        page = desk().get(change_page(items()[0])).content.decode()
        assert "wanted end" in page
        assert "other end" in page

    def test_is_not_found_under_a_name_that_is_none(self) -> None:
        assert desk().get(f"{INBOX}nonsense/change/").status_code == 404

    def test_shows_what_somebody_reported(self) -> None:
        log_manual_intervention_needed(
            operation="import", entity_id="42", error="half of the file", payload={"line": 7}
        )
        page = desk("resolve_intervention").get(change_page(items()[0])).content.decode()
        assert "half of the file" in page
        assert "not tried again by itself" in page
        both = desk("resolve_intervention").get(RESOLVE, {"item": str(items()[0].pk)}).content.decode()
        assert "There is nothing to compare" in both

    def test_that_nobody_can_retry_has_no_button_for_it(self) -> None:
        Intervention.objects.create(operation="sync", entity_id="users", target="users", error="All of it.")
        page = desk("retry_intervention").get(INBOX).text
        assert 'form="kw-retry" name="item"' not in page
        assert "_facets" not in page

    def test_is_never_pulled_away_under_its_reader(self, refused: list[User]) -> None:
        desk("retry_intervention").post(RETRY, {"item": str(items()[0].pk)})
        page = desk().get(change_page(items()[0])).content.decode()
        assert 'http-equiv="refresh"' not in page
        assert "data-waiting" in page
        assert "being tried now" in page


class TestWhatSomebodyHolds:
    def test_p3_is_told_and_holds_no_thread(
        self, refused: list[User], second_connection: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(patience, "WAIT_MS", 50)
        client, item, holder = desk("retry_intervention", "snooze_intervention"), items()[0], second_connection()
        fakes.sql("SET statement_timeout = 5000")
        holder.execute("BEGIN")
        holder.execute("SELECT FROM manual_intervention_log WHERE id = %s FOR UPDATE", [item.pk])
        for page, words in (
            (RETRY, {"item": item.pk}),
            (INBOX, {"action": "retry_selected", "_selected_action": item.pk}),
            (reverse("admin:interventions_intervention_attend"), {"action": "snooze", "item": item.pk, "hours": 1}),
        ):
            assert BUSY in client.post(page, words, follow=True).text, page
        holder.execute("ROLLBACK")
        fakes.sql("RESET statement_timeout")
        assert items()[0].state == State.OPEN


class TestMarkResolved:
    def test_p8_refuses_to_call_a_difference_resolved(self, refused: list[User]) -> None:
        client = desk("resolve_intervention")
        page = client.post(RESOLVE, {"item": str(items()[0].pk), "note": "fine"}).content.decode()
        assert "The two sides still differ." in page
        assert items()[0].state == State.OPEN

    def test_p8_accepts_a_difference_only_with_a_note(self, refused: list[User]) -> None:
        client = desk("resolve_intervention", "accept_difference")
        item = items()[0]
        client.post(RESOLVE, {"item": str(item.pk), "note": "  "})
        assert not Intervention.objects.get(pk=item.pk).resolved
        page = client.post(RESOLVE, {"item": str(item.pk), "note": "Agreed with them."}, follow=True).content.decode()
        assert "1 difference accepted." in page
        assert Intervention.objects.get(pk=item.pk).resolution == "accepted"

    def test_p8_accepts_no_difference_that_the_page_did_not_show(self, refused: list[User]) -> None:
        client, item = desk("resolve_intervention", "accept_difference"), items()[0]

        def shown(page: str) -> dict[str, list[str]]:
            return {
                "item": [str(item.pk)],
                "note": ["Agreed."],
                "seen": re.findall(r'name="seen" value="([^"]+)"', page),
            }

        stale = shown(client.get(RESOLVE, {"item": str(item.pk)}).text)
        with fakes.asleep():
            Profile.objects.filter(user_id=str(item.person_id)).update(phone="+44 20 7946 0999")
        again = client.post(RESOLVE, stale).text
        assert "otherwise than when the page was opened" in again
        assert not Intervention.objects.get(pk=item.pk).resolved
        client.post(RESOLVE, shown(again))
        assert Intervention.objects.get(pk=item.pk).resolution == "accepted"

    def test_tells_the_second_who_was_first(self, refused: list[User]) -> None:
        item = items()[0]
        first = desk("resolve_intervention", "accept_difference")
        first.post(RESOLVE, {"item": str(item.pk), "note": "Agreed."})
        page = desk("resolve_intervention").get(RESOLVE, {"item": str(item.pk)}).content.decode()
        assert "Sam Staff resolved this" in page
        assert History.objects.of("intervention", str(item.pk)).filter(action="accepted:accepted").count() == 1

    def test_goes_from_the_list_to_both_sides_first(self, refused: list[User]) -> None:
        selected = {"action": "resolve_selected", "_selected_action": [str(item.pk) for item in items()]}
        page = desk("resolve_intervention").post(INBOX, selected, follow=True).content.decode()
        assert "0 of 2 are equal now" in page
        assert all(not item.resolved for item in items())
