"""Somebody's own data: all of it for them, and gone when they ask for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from interventions.models import History, Intervention, KeyedRequest
from sync.models import Tombstone
from tests import appointments, fakes
from tests.factories import PASSWORD, Cast, UserFactory
from tests.integration.test_erasure import WORD, said_anywhere, tables
from tests.integration.test_erasure import zoe as zoe
from therapists import erasure, exports
from therapists.models import Enrollment, OpenSession, User

ME, EXPORT = "/api/v1/therapists/me/", "/api/v1/therapists/me/export/"
Settle = Callable[..., int]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _media(settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def lead() -> User:
    person: User = UserFactory.create(user_type="staff", is_staff=True, is_superuser=True)
    return person


def as_person(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def ask_to_go(client: Client, **body: str) -> Any:
    return client.delete(ME, body, "application/json")


class TestExport:
    def test_p10_tells_every_place_that_holds_something_of_them_and_nothing_of_others(
        self, zoe: User, settled: Settle
    ) -> None:
        answer = as_person(zoe).get(EXPORT)
        told = answer.json()["tables"]
        assert answer["Content-Disposition"] == f'attachment; filename="keepwell-{zoe.pk}.json"'
        holding = {table for table, _ in said_anywhere(WORD)} - exports.UNTOLD
        # What merely mentions them among others is told to nobody.
        missing = [table for table in holding if WORD not in str(told.get(table, ""))]
        assert missing == []
        assert {row["person_id"] for row in told["manual_intervention_log"]} <= {zoe.pk, None}
        assert "batch 7" not in answer.content.decode()
        assert answer.json()["files"]
        assert answer.json()["left_out"] == []
        assert any(line["action"] == "email_changed" for line in told["intervention_history"])

    def test_p10_withholds_what_would_open_the_door(self, zoe: User) -> None:
        client = as_person(zoe)
        said = client.get(EXPORT).content.decode()
        zoe.refresh_from_db()
        key = client.cookies["sessionid"].value
        for secret in (zoe.password, key, OpenSession.objects.get(pk=key).session_data):
            assert secret not in said

    def test_p10_tells_bookings_and_credits_of_both_sides_and_nothing_that_staff_were_answered(
        self, cast: Cast, lead: User
    ) -> None:
        (client,) = appointments.clients(1)
        appointments.granted(client, 2)
        booking = appointments.requested(client, cast.ada)
        for person, lines in ((client, 1), (cast.ada, 0)):
            told = as_person(person).get(EXPORT).json()["tables"]
            assert [row["id"] for row in told["bookings"]] == [booking.pk]
            assert len(told.get("credit_entries", [])) == lines
        desk, pk = as_person(lead), Enrollment.objects.get(user=cast.ada).pk
        asked = {"decision": "suspend"}, "application/json"
        desk.post(f"/api/v1/enrollments/{pk}/decision/", *asked, headers={"Idempotency-Key": "k"})
        assert KeyedRequest.objects.get(person_id=lead.pk).body
        assert cast.ada.full_name not in desk.get(EXPORT).content.decode()

    def test_leaves_out_no_table_of_the_declaration(self) -> None:
        assert set(exports.conditions()) | exports.UNTOLD >= set(erasure.ROWS) | set(erasure.SCRUBBED)
        assert set(erasure.SCRUBBED) >= exports.UNTOLD, "rows that are theirs alone are always told"
        assert set(exports.WITHHELD) <= set(tables())

    def test_is_bounded_and_says_so(self, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(exports, "MOST_ROWS", 1)
        as_person(cast.ada)
        found = as_person(cast.ada).get(EXPORT).json()
        assert (len(found["tables"]["user_sessions"]), found["left_out"]) == (1, ["user_sessions"])


class TestDeletion:
    def test_p10_erases_them_and_ends_every_session(self, zoe: User, settled: Settle) -> None:
        here, there = as_person(zoe), as_person(zoe)
        answer = ask_to_go(here, password=PASSWORD)
        assert (answer.status_code, answer.json()["success"]) == (200, True)
        settled()
        assert said_anywhere(WORD) == set()
        assert [client.get(EXPORT).status_code for client in (here, there)] == [401, 401]
        assert Tombstone.objects.filter(person_id=zoe.pk).exists()
        assert History.objects.filter(action="erased", object_id=str(zoe.pk), actor=f"user:{zoe.pk}").exists()
        assert not Intervention.objects.filter(person_id=zoe.pk, resolved=False).exists()

    def test_p10_takes_the_password_and_counts_wrong_ones(self, cast: Cast) -> None:
        client = as_person(cast.ada)
        assert ask_to_go(client).json()["errors"][0]["field"] == "password"
        assert [ask_to_go(client, password="x").status_code for _ in range(5)] == [403] * 4 + [429]
        assert ask_to_go(client, password=PASSWORD).status_code == 429
        assert User.objects.filter(pk=cast.ada.pk).exists()
        assert Enrollment.objects.filter(user=cast.ada).exists()

    def test_staff_leave_the_desk_first(self, cast: Cast) -> None:
        answer = ask_to_go(as_person(cast.vic), password=PASSWORD)
        assert (answer.status_code, answer.json()["code"]) == (409, "staff_leave_first")
        assert User.objects.filter(pk=cast.vic.pk).exists()

    def test_a_table_that_is_held_refuses_it_as_a_whole(self, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(erasure, "WAIT_MS", 50)
        with fakes.locked_table("therapist_profiles"):
            answer = ask_to_go(as_person(cast.ada), password=PASSWORD)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert Enrollment.objects.filter(user=cast.ada).exists()
