"""Causes and assignment over HTTP: the same decisions as on the desk, and problems that say who was first."""

import datetime as dt
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from interventions import causes, items
from interventions.models import Cause, Intervention
from tests.factories import Cast

CAUSES, ITEMS = "/api/v1/causes/", "/api/v1/interventions/"


@pytest.fixture
def sam(cast: Cast, client: Client) -> Client:
    client.force_login(cast.sam)
    return client


@pytest.fixture
def cause(cast: Cast) -> Cause:
    failure = items.Failure(
        target="therapist_profiles",
        code="23514",
        failure_class="refused",
        detail="x",
        attempts=1,
        person_id=cast.ada.pk,
    )
    items.open_items(failures=[failure], at=timezone.now())
    causes.follow(at=timezone.now())
    return Cause.objects.get(code="23514")


def post(client: Client, address: str, **body: Any) -> Any:
    return client.post(address, body, "application/json")


def ahead(**words: int) -> str:
    return (timezone.now() + dt.timedelta(**words)).isoformat()


class TestACause:
    def test_shows_how_it_stands(self, sam: Client, cause: Cause) -> None:
        shown = sam.get(f"{CAUSES}{cause.pk}/").json()
        assert (shown["state"], shown["items"], shown["people"], shown["owner"]) == ("open", 1, 1, None)
        assert shown in sam.get(CAUSES).json()
        assert shown["cause"] == cause.fingerprint

    def test_is_acknowledged_once_and_taken_over_by_name(self, sam: Client, cause: Cause, cast: Cast) -> None:
        by = f"user:{cast.sam.pk}"
        taken = post(sam, f"{CAUSES}{cause.pk}/acknowledge/")
        assert (taken.status_code, taken.json()["state"], taken.json()["owner"]) == (200, "acknowledged", by)
        again = post(sam, f"{CAUSES}{cause.pk}/acknowledge/")
        assert (again.status_code, again.json()["code"]) == (409, "overtaken")
        assert "Sam Reyes was first, at " in again.json()["detail"]
        other = Client()
        other.force_login(cast.vic)
        assert post(other, f"{CAUSES}{cause.pk}/acknowledge/", instead_of=by).status_code == 403
        assert post(sam, f"{CAUSES}{cause.pk}/hand-back/").json()["state"] == "open"

    def test_is_put_off_and_brought_back(self, sam: Client, cause: Cause) -> None:
        for word, back, column in (
            ("snooze", "unsnooze", "snoozed_until"),
            ("ignore", "unignore", "ignored_until"),
        ):
            body = {"until": ahead(days=2)} | ({"reason": "Known."} if word == "ignore" else {})
            assert post(sam, f"{CAUSES}{cause.pk}/{word}/", **body).json()[column] is not None
            assert post(sam, f"{CAUSES}{cause.pk}/{word}/", **body).status_code == 409
            assert post(sam, f"{CAUSES}{cause.pk}/{back}/").json()[column] is None

    def test_refuses_a_moment_out_of_range_and_a_missing_reason(self, sam: Client, cause: Cause) -> None:
        for until in (ahead(days=31), ahead(days=-1)):
            answer = post(sam, f"{CAUSES}{cause.pk}/snooze/", until=until)
            assert answer.status_code == 400
            assert answer.json()["errors"][0]["field"] == "until"
        answer = post(sam, f"{CAUSES}{cause.pk}/ignore/", until=ahead(days=1))
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "reason")
        assert post(sam, f"{CAUSES}{cause.pk}/ignore/", until=ahead(days=1), reason=" ").status_code == 400

    def test_has_a_note_that_nobody_overwrites_unseen(self, sam: Client, cause: Cause) -> None:
        assert post(sam, f"{CAUSES}{cause.pk}/note/", note="Ask them.").json()["note"] == "Ask them."
        assert post(sam, f"{CAUSES}{cause.pk}/note/", note="Mine.").status_code == 409
        assert post(sam, f"{CAUSES}{cause.pk}/note/", note="", was="Ask them.").json()["note"] == ""

    def test_that_is_resolved_is_shown_and_not_decided_about(self, sam: Client, cause: Cause) -> None:
        Intervention.objects.update(resolved=True)
        causes.follow(at=timezone.now())
        assert sam.get(CAUSES).json() == []
        assert sam.get(f"{CAUSES}{cause.pk}/").json()["state"] == "resolved"
        assert post(sam, f"{CAUSES}{cause.pk}/acknowledge/").status_code == 409
        assert post(sam, f"{CAUSES}{cause.pk}/retry/").status_code == 404

    def test_that_never_was_is_not_there(self, sam: Client) -> None:
        nowhere = f"{CAUSES}00000000-0000-4000-8000-000000000000/"
        assert sam.get(nowhere).status_code == 404
        assert post(sam, f"{nowhere}acknowledge/").status_code == 404


class TestAnItem:
    def test_is_assigned_snoozed_and_given_back(self, sam: Client, cause: Cause, cast: Cast) -> None:
        item = Intervention.objects.get(cause=cause.fingerprint)
        address = f"{ITEMS}{item.pk}/"
        taken = post(sam, f"{address}assign/")
        assert taken.status_code == 200
        assert taken.json()["data"]["assignee"] == f"user:{cast.sam.pk}"
        assert "Sam Reyes was first" in post(sam, f"{address}assign/").json()["detail"]
        assert post(sam, f"{address}snooze/", until=ahead(hours=1)).json()["data"]["snoozed_until"]
        assert post(sam, f"{address}unsnooze/").json()["data"]["snoozed_until"] is None
        assert post(sam, f"{address}hand-back/").json()["data"]["assignee"] is None
        assert post(sam, f"{ITEMS}00000000-0000-4000-8000-000000000000/assign/").status_code == 404
