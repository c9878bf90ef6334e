"""Causes on the desk: cards, the list, a cause's own page, and what each person may decide there and on an item."""

import datetime as dt
import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from interventions import attention, causes, items
from interventions.models import Cause, History, Intervention, RetryRun
from interventions.operations import log_manual_intervention_needed
from tests.factories import UserFactory
from therapists.models import User
from therapists.roles import LEAD, OPERATOR, READ_ONLY

INBOX = reverse("admin:interventions_intervention_changelist")
DECIDE, CAUSES = reverse("admin:cause_decide"), reverse("admin:causes")
ATTEND, NEW = reverse("admin:interventions_intervention_attend"), reverse("admin:interventions_intervention_new")
TARGET = "therapist_profiles"
pytestmark = pytest.mark.django_db(transaction=True)


def member(role: str, name: str = "Sam Reyes") -> User:
    user = UserFactory.create(user_type="staff", is_staff=True, full_name=name)
    user.groups.add(Group.objects.get(name=role))
    return user


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def cause() -> Cause:
    """Three people fail for one reason."""
    fail(3)
    causes.follow(at=timezone.now())
    return Cause.objects.get()


def fail(number: int, code: str = "23514") -> None:
    people = [UserFactory.create().pk for _ in range(number)]
    failures = [
        items.Failure(target=TARGET, code=code, failure_class="refused", detail="bio_len", attempts=1, person_id=pk)
        for pk in people
    ]
    items.open_items(failures=failures, at=timezone.now())


def page_of(cause: Cause) -> str:
    return reverse("admin:cause", args=[cause.pk])


def decide(client: Client, cause: Cause, action: str, **words: Any) -> str:
    given = {"fingerprint": cause.fingerprint, "action": action, "next": page_of(cause)} | words
    answer = client.post(DECIDE, given, follow=True)
    assert answer.status_code == 200
    return str(answer.content.decode())


class TestACausesPage:
    def test_says_what_it_is_what_to_do_and_whom_it_is_about(self, cause: Cause) -> None:
        page = browser(member(OPERATOR)).get(page_of(cause)).content.decode()
        assert "therapist_profiles could not be brought in line because the place refuses the value" in page
        assert "Correct the value at its source" in page
        assert "3 interventions" in page
        assert page.count('href="/admin/interventions/intervention/') >= 3
        assert "Cause seen for the first time" in page

    def test_goes_through_a_life(self, cause: Cause) -> None:
        sam = browser(member(OPERATOR))
        assert "You see to this cause now." in decide(sam, cause, "acknowledge")
        assert "You see to it since" in sam.get(page_of(cause)).content.decode()
        assert "the importer, tomorrow" in decide(sam, cause, "note", note="Ask the importer, tomorrow.").lower()
        assert "Snoozed until" in decide(sam, cause, "snooze", hours="24")
        assert "Bring back now" in sam.get(page_of(cause)).content.decode()
        assert "It is back in the inbox." in decide(sam, cause, "unsnooze")
        assert "Acknowledge" in decide(sam, cause, "hand_back")
        lena = browser(member(LEAD, "Lena Park"))
        said = decide(lena, cause, "ignore", hours="168", reason="The importer is known for it.")
        assert "“The importer is known for it.”" in said
        assert "It is heeded again." in decide(lena, cause, "unignore")
        told = list(History.objects.of("cause", str(cause.pk)).values_list("action", flat=True))
        assert told == [
            "cause_opened", "cause_acknowledged", "cause_noted", "cause_snoozed", "cause_unsnoozed", "cause_handed_back",
            "cause_ignored", "cause_unignored",
        ]  # fmt: skip

    def test_tells_the_second_who_did_what_when(self, cause: Cause) -> None:
        decide(browser(member(OPERATOR)), cause, "acknowledge")
        said = decide(browser(member(LEAD, "Lena Park")), cause, "acknowledge")
        assert "Nothing was changed: Sam Reyes was first, just now. Cause taken on." in said
        assert Cause.objects.get().owner == f"user:{User.objects.get(full_name='Sam Reyes').pk}"

    def test_offers_to_take_over_from_its_owner(self, cause: Cause) -> None:
        sam = member(OPERATOR)
        decide(browser(sam), cause, "acknowledge")
        lena = browser(member(LEAD, "Lena Park"))
        assert "Take over from Sam Reyes" in lena.get(page_of(cause)).content.decode()
        assert "You see to this cause now." in decide(lena, cause, "acknowledge", instead_of=f"user:{sam.pk}")

    def test_refuses_times_and_reasons_that_are_none(self, cause: Cause) -> None:
        lena = browser(member(LEAD))
        for hours in ("", "x", "-1", "0", "721", "99999999999"):
            assert "choose for how long" in decide(lena, cause, "snooze", hours=hours)
        assert "needs a reason" in decide(lena, cause, "ignore", hours="24", reason=" ")
        assert lena.post(DECIDE, {"fingerprint": cause.fingerprint, "action": "delete"}).status_code == 404
        assert not History.objects.filter(object_type="cause").exclude(actor="system").exists()

    def test_of_what_is_gone_says_so(self, cause: Cause) -> None:
        sam = browser(member(OPERATOR))
        Intervention.objects.update(resolved=True)
        causes.follow(at=timezone.now())
        assert "Nothing of that cause is open any more." in decide(sam, cause, "acknowledge")
        page = sam.get(page_of(cause)).content.decode()
        assert "nothing of it is open" in page
        assert 'name="action"' not in page
        missing = reverse("admin:cause", args=["00000000-0000-4000-8000-000000000000"])
        assert sam.get(missing).status_code == 404

    def test_leads_to_its_bulk_retries(self, cause: Cause) -> None:
        sam = browser(member(OPERATOR))
        now = timezone.now()
        attention.snooze(cause_id=cause.pk, until=now + dt.timedelta(hours=1), by="user:1", at=now)
        query = re.search(r'name="query" value="([^"]+)"', sam.get(page_of(cause)).content.decode())
        assert query
        # Also of a cause that is put off: who looks at it means it.
        sam.post(reverse("admin:retries_plan"), {"query": query[1].replace("&amp;", "&")})
        run = RetryRun.objects.get()
        assert (run.cause, run.retryrunitem_set.count()) == (cause.fingerprint, 3)
        assert reverse("admin:retry_run", args=[run.pk]) in sam.get(page_of(cause)).content.decode()


ACTIONS = {
    "acknowledge": {READ_ONLY: 403, OPERATOR: 302, LEAD: 302},
    "hand_back": {READ_ONLY: 403, OPERATOR: 302, LEAD: 302},
    "snooze": {READ_ONLY: 403, OPERATOR: 302, LEAD: 302},
    "unsnooze": {READ_ONLY: 403, OPERATOR: 302, LEAD: 302},
    "note": {READ_ONLY: 403, OPERATOR: 302, LEAD: 302},
    "ignore": {READ_ONLY: 403, OPERATOR: 403, LEAD: 302},
    "unignore": {READ_ONLY: 403, OPERATOR: 403, LEAD: 302},
}


@pytest.mark.parametrize("role", [READ_ONLY, OPERATOR, LEAD])
def test_each_role_may_what_its_buttons_say(role: str, cause: Cause) -> None:
    client = browser(member(role))
    shown = set(re.findall(r'name="action" value="(\w+)"', client.get(page_of(cause)).content.decode()))
    # Where nothing is put off, there is nothing to bring back.
    undone = {"hand_back", "unsnooze", "unignore"}
    assert shown == {action for action, statuses in ACTIONS.items() if statuses[role] == 302} - undone
    for action, statuses in ACTIONS.items():
        words = {"fingerprint": cause.fingerprint, "action": action, "hours": "1", "reason": "Known.", "note": "x"}
        assert client.post(DECIDE, words).status_code == statuses[role], action
        assert client.get(DECIDE, words).status_code == 405
    item = Intervention.objects.earliest("timestamp")
    may = 403 if role == READ_ONLY else 302
    for action in ("assign", "hand_back", "snooze", "unsnooze"):
        words = {"item": str(item.pk), "action": action, "hours": "1"}
        assert client.post(ATTEND, words).status_code == may, action
        assert client.get(ATTEND, words).status_code == 405


def test_who_may_only_look_sees_no_button_and_changes_nothing(cause: Cause) -> None:
    vic = browser(member(READ_ONLY, "Vic Lund"))
    item = Intervention.objects.earliest("timestamp")
    for page in (INBOX, CAUSES, page_of(cause), reverse("admin:interventions_intervention_change", args=[item.pk])):
        shown = vic.get(page).content.decode()
        main = shown[shown.index("<main") :]
        assert re.findall(r"<button[^>]*>([^<]+)</button>", main) in ([], ["Run"])
        assert 'name="action" value=' not in main
    assert not History.objects.exclude(actor="system").exists()


def test_a_program_that_may_look_at_items_alone_sees_cards_and_no_pages(cause: Cause) -> None:
    user = UserFactory.create(user_type="staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_intervention"))
    assert browser(user).get(INBOX).status_code == 200
    assert browser(user).get(CAUSES).status_code == 403
    assert browser(user).get(page_of(cause)).status_code == 403


class TestTheCards:
    def test_say_who_sees_to_a_cause_and_acknowledge_it_there(self, cause: Cause) -> None:
        sam = browser(member(OPERATOR))
        page = sam.get(INBOX).content.decode()
        assert 'value="acknowledge"' in page
        assert "Nobody has taken it" in browser(member(READ_ONLY, "Vic Lund")).get(INBOX).content.decode()
        decide(sam, cause, "acknowledge", next=INBOX)
        assert "Yours" in sam.get(INBOX).content.decode()
        lena = browser(member(LEAD, "Lena Park")).get(INBOX).content.decode()
        assert "Sam Reyes" in lena
        assert 'value="acknowledge"' not in lena

    def test_a_cause_that_was_never_looked_at_is_acknowledged_all_the_same(self) -> None:
        fail(1)
        assert not Cause.objects.exists()
        sam = browser(member(OPERATOR))
        fingerprint = Intervention.objects.get().cause
        assert 'value="acknowledge"' in sam.get(INBOX).content.decode()
        assert not Cause.objects.exists(), "looking changes nothing"
        sam.post(DECIDE, {"fingerprint": fingerprint, "action": "acknowledge"})
        assert Cause.objects.get().state == "acknowledged"

    def test_of_what_nobody_could_try_again_offers_no_retry(self) -> None:
        log_manual_intervention_needed(operation="import", error="It failed.")
        page = browser(member(OPERATOR)).get(INBOX).content.decode()
        assert 'value="acknowledge"' in page
        assert "Retry all" not in page

    def test_the_list_has_every_cause(self, cause: Cause) -> None:
        for code in ("22001", "23502", "23503", "23505"):
            fail(1, code)
        causes.follow(at=timezone.now())
        sam = browser(member(OPERATOR))
        assert sam.get(INBOX).content.decode().count("<article") == 4
        assert CAUSES in sam.get(INBOX).content.decode()
        assert sam.get(CAUSES).content.decode().count("<article") == 5
        Intervention.objects.update(resolved=True)
        assert "Nothing is open." in sam.get(CAUSES).content.decode()


class TestTabs:
    def test_count_and_list_what_belongs_there(self, cause: Cause) -> None:
        sam = member(OPERATOR)
        client, now = browser(sam), timezone.now()
        first, second, _ = Intervention.objects.order_by("timestamp", "pk")
        client.post(ATTEND, {"item": str(first.pk), "action": "assign"})
        client.post(ATTEND, {"item": str(second.pk), "action": "snooze", "hours": "4"})
        listed = {tab: rows(client, tab) for tab in ("", "mine", "snoozed", "all")}
        assert listed == {"": 2, "mine": 1, "snoozed": 1, "all": 3}
        assert "snoozed until" in client.get(INBOX, {"tab": "snoozed"}).content.decode()
        assert "Sam Reyes" in client.get(INBOX, {"tab": "mine"}).content.decode()
        attention.snooze(cause_id=cause.pk, until=now + dt.timedelta(hours=1), by="user:1", at=now)
        assert (rows(client, ""), rows(client, "snoozed"), rows(client, "mine")) == (0, 3, 1)
        assert "its cause snoozed until" in client.get(INBOX, {"tab": "snoozed"}).content.decode()
        # Who opens one cause sees what belongs to it; only what was put off by itself waits elsewhere.
        chosen = client.get(INBOX, {"cause__exact": cause.fingerprint}).content.decode()
        assert chosen.count('class="kw-what"') == 2

    def test_say_what_it_means_to_be_empty(self) -> None:
        client = browser(member(OPERATOR))
        assert "Nothing is yours." in client.get(INBOX, {"tab": "mine"}).content.decode()
        assert "Nothing is put off." in client.get(INBOX, {"tab": "snoozed"}).content.decode()


def rows(client: Client, tab: str) -> int:
    page = client.get(INBOX, {"tab": tab} if tab else {}).content.decode()
    return page.count('class="kw-what"')


class TestAnItem:
    def test_is_assigned_taken_over_and_handed_back(self, cause: Cause) -> None:
        item = Intervention.objects.earliest("timestamp")
        where = reverse("admin:interventions_intervention_change", args=[item.pk])
        sam, lena = browser(member(OPERATOR)), browser(member(LEAD, "Lena Park"))
        assert 'accesskey="a" name="action" value="assign">Assign to me' in sam.get(where).content.decode()
        words = {"item": str(item.pk), "action": "assign", "next": where}
        assert "You see to this now." in sam.post(ATTEND, words, follow=True).content.decode()
        told = lena.post(ATTEND, words, follow=True).content.decode()
        assert "Sam Reyes was first" in told
        assert "Take over from Sam Reyes" in told
        assert "Hand back" in sam.get(where).content.decode()
        assert "Taken on, by Sam Reyes" in sam.get(where).content.decode()

    def test_is_snoozed_and_says_until_when(self, cause: Cause) -> None:
        item = Intervention.objects.earliest("timestamp")
        where = reverse("admin:interventions_intervention_change", args=[item.pk])
        sam = browser(member(OPERATOR))
        words = {"item": str(item.pk), "action": "snooze", "hours": "4", "next": where}
        page = sam.post(ATTEND, words, follow=True).content.decode()
        assert "Snoozed until" in page
        assert "Bring back now" in page
        assert sam.post(ATTEND, words | {"item": "none"}).status_code == 404

    def test_says_who_sees_to_its_cause(self, cause: Cause) -> None:
        decide(browser(member(OPERATOR)), cause, "acknowledge")
        item = Intervention.objects.earliest("timestamp")
        where = reverse("admin:interventions_intervention_change", args=[item.pk])
        page = browser(member(LEAD, "Lena Park")).get(where).content.decode()
        assert "<b>Sam Reyes</b> sees to its cause." in page
        assert page_of(cause) in page


class TestNews:
    def test_counts_what_came_since_the_page_was_made(self, cause: Cause) -> None:
        sam = browser(member(OPERATOR))
        address = re.search(r'data-url="([^"]+)"', sam.get(INBOX).content.decode())
        assert address
        url = address[1].replace("&amp;", "&")
        assert sam.get(url).json() == {"number": 0, "text": ""}
        fail(2)
        assert sam.get(url).json() == {"number": 2, "text": "2 new interventions."}
        assert sam.get(url.replace("?", "?code=22001&")).json()["number"] == 0
        assert json.loads(sam.get(url).content)["number"] == 2

    def test_is_for_whom_may_look_and_says_since_when(self, cause: Cause) -> None:
        nobody = UserFactory.create(user_type="staff", is_staff=True)
        assert browser(nobody).get(NEW, {"since": timezone.now().isoformat()}).status_code == 403
        sam = browser(member(OPERATOR))
        for since in ("", "yesterday", "2026-02-31T00:00:00+00:00", "2026-11-22T00:00:00"):
            assert sam.get(NEW, {"since": since}).status_code == 400

    def test_is_not_asked_for_where_somebody_searches(self, cause: Cause) -> None:
        sam = browser(member(OPERATOR))
        assert "data-url" not in sam.get(INBOX, {"q": "ada"}).content.decode()
        assert "data-url" not in sam.get(INBOX, {"tab": "resolved"}).content.decode()
