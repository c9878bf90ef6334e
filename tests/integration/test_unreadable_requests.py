"""Rubbish in an address or a form gets a clear answer: never an error of ours, and never more than was asked for."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from interventions.admin import sentences
from tests.factories import UserFactory
from therapists.models import User

pytestmark = pytest.mark.django_db

INBOX, HISTORY, HOLDS = (
    reverse(f"admin:{name}_changelist") for name in ("interventions_intervention", "interventions_history", "sync_hold")
)
PEOPLE = tuple(reverse(f"admin:therapists_{name}_changelist") for name in ("user", "enrollment", "profile"))
LONG = "9" * 5000


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(UserFactory.create(is_staff=True, is_superuser=True))
    return client


def test_a_filter_that_is_none_is_refused_and_plans_nothing(root: Client) -> None:
    for query in (
        "target=%00", "code=a%00", "cause__exact=%00", "error__regex=(", "payload__has_key=a", "timestamp__year=0",
        "id__range=1", "id__exact=no-id", "foo=bar", "user__password=x",
    ):  # fmt: skip
        answer = root.get(f"{INBOX}?{query}")
        assert answer.status_code == 400, query
        assert "This cannot be read" in answer.text
        assert root.post(reverse("admin:retries_plan"), {"query": query}).status_code == 400, query


def test_a_search_that_cannot_be_read_is_not_a_search_for_everything(root: Client) -> None:
    assert root.post(reverse("admin:retries_plan"), {"query": "q=%00"}).status_code == 400


def test_other_lists_refuse_it_as_well(root: Client) -> None:
    for page, query in [
        (HISTORY, "action=%00"), (HISTORY, "object_id__regex=("), (HOLDS, "target=%00"), (HOLDS, "id__range=1"),
        *((page, "id__range=1") for page in PEOPLE), (PEOPLE[0], "password__startswith=pbkdf2"),
        (PEOPLE[1], "status__exact=%00"), (PEOPLE[2], "user__email__startswith=a"),
    ]:  # fmt: skip
        assert root.get(f"{page}?{query}").status_code == 400, (page, query)
    for page in (INBOX, HISTORY, *PEOPLE):
        assert root.get(page, {"q": LONG}).status_code == 200, page
    assert root.get(reverse("admin:sync_hold_change", args=[LONG])).status_code == 404


def test_a_form_that_no_page_has_changes_nothing(root: Client) -> None:
    chosen = {"action": "retry_selected", "_selected_action": "no-id"}
    for page, words in ((reverse("admin:cause_decide"), {"action": "note", "fingerprint": "\0"}), (INBOX, chosen)):
        assert root.post(page, words).status_code == 400, page


def test_numbers_that_are_nobodys_id_name_nothing(root: Client) -> None:
    for number in (LONG, "²", "-1"):
        assert root.post(reverse("notices"), {"alert": number}).status_code == 302
        assert root.post(reverse("admin:interventions_intervention_adopt"), {"value": number}).status_code == 302


def test_a_method_that_an_address_does_not_have_is_named_as_that(root: Client) -> None:
    for method in ("put", "patch", "delete", "options", "head", "get"):
        answer: Any = getattr(root, method)(reverse("retry-runs"))
        assert answer.status_code == 405, method
    assert root.head(reverse("causes")).status_code == 200


def test_nobody_learns_by_a_wrong_method_what_an_address_has(client: Client) -> None:
    client.force_login(User.objects.create(email="ada@example.org"))
    assert client.put(reverse("causes")).status_code == 403


def test_an_actor_that_a_program_made_up_is_shown_as_it_is() -> None:
    ada = User.objects.create(email="ada@example.org", full_name="Ada Quist")
    made_up = ("user:²", "user:" + LONG, "user:7 x", "<b>")
    names = sentences.who({f"user:{ada.pk}", "user:999", "sql:psql", "system", *made_up})
    assert names[f"user:{ada.pk}"] == "Ada Quist"
    assert [names[one] for one in ("user:999", "sql:psql", "system")] == [
        "user 999",
        "the database role psql",
        "Keepwell",
    ]
    assert {names[one] for one in made_up} == {one.replace("user:", "user ") for one in made_up}
