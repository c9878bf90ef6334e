"""The address of a person: a mirror like any other, compared by its normal form, refused when taken, found when given up."""

import json
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, transaction
from django.db.models import TextField, Value
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from interventions.models import History
from sync import identity
from sync.people import find_people
from tests import fakes
from tests.factories import Cast, UserFactory
from therapists.models import EmailAlias, Enrollment, Status, User, normal_form
from therapists.operations import AddressTaken, change_email, edit_profile

pytestmark = pytest.mark.django_db(transaction=True)
ME = "/api/v1/therapists/me/"
Settle = Callable[..., int]


def applicant(email: str, **facts: Any) -> Enrollment:
    return Enrollment.objects.create(user=None, email=email, full_name="Erin Vale", **facts)


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


class TestTheMirror:
    @pytest.mark.parametrize("writer", ["operation", "queryset", "sql"])
    def test_p1_a_new_address_reaches_the_enrollment(
        self, cast: Cast, layers: str, writer: str, settled: Settle
    ) -> None:
        match writer:
            case "operation":
                change_email(person_id=cast.ada.pk, email="Ada@New.example", by="user:1", at=timezone.now())
            case "queryset":
                User.objects.filter(pk=cast.ada.pk).update(email="Ada@New.example")
            case _:
                fakes.sql("UPDATE users SET email = 'Ada@New.example' WHERE id = %s", cast.ada.pk)
        settled()
        assert Enrollment.objects.get(user=cast.ada).email == "Ada@New.example"
        assert list(EmailAlias.objects.values_list("person_id", "email")) == [(cast.ada.pk, "ada.quist@example.org")]
        assert (cast.ada.pk, "therapist_enrollments") not in fakes.behind()

    def test_p1_the_spelling_alone_is_copied_and_leaves_no_alias(self, cast: Cast, settled: Settle) -> None:
        change_email(person_id=cast.ada.pk, email="Ada.Quist@Example.org", by="user:1", at=timezone.now())
        settled()
        assert Enrollment.objects.get(user=cast.ada).email == "Ada.Quist@Example.org"
        assert not EmailAlias.objects.exists()

    def test_p2_an_address_written_into_the_copy_is_restored(self, cast: Cast, settled: Settle) -> None:
        Enrollment.objects.filter(user=cast.ada).update(email="else@example.org")
        settled()
        assert Enrollment.objects.get(user=cast.ada).email == "ada.quist@example.org"

    def test_p3_an_alias_out_of_reach_costs_nobody_their_change(self, cast: Cast) -> None:
        with fakes.locked_table("user_aliases"):
            took = fakes.milliseconds(lambda: User.objects.filter(pk=cast.ada.pk).update(email="ada@new.example"))
        assert took < 1_000
        assert User.objects.get(pk=cast.ada.pk).email == "ada@new.example"


class TestACollision:
    @pytest.mark.parametrize("spelling", ["ben.okoro@example.org", " BEN.Okoro@EXAMPLE.org ", "Ben.Okoro@example.ORG"])
    def test_p6_is_refused_in_any_case(self, cast: Cast, spelling: str) -> None:
        with pytest.raises(AddressTaken, match="signs in with this address already"):
            change_email(person_id=cast.ada.pk, email=spelling, by="user:1", at=timezone.now())
        assert User.objects.get(pk=cast.ada.pk).email == "ada.quist@example.org"
        assert not EmailAlias.objects.exists()

    def test_p6_is_refused_in_either_unicode_form(self, cast: Cast) -> None:
        UserFactory.create(email=unicodedata.normalize("NFD", "zoë@example.org"))
        composed = unicodedata.normalize("NFC", "ZOË@example.org")
        with pytest.raises(AddressTaken):
            change_email(person_id=cast.ada.pk, email=composed, by="user:1", at=timezone.now())

    def test_p6_saves_nothing_of_the_same_request(self, cast: Cast) -> None:
        changes = {"full_name": "Ada Q.", "bio": "New.", "email": "ben.okoro@example.org"}
        with pytest.raises(AddressTaken):
            edit_profile(person_id=cast.ada.pk, changes=changes, by="user:1", at=timezone.now())
        assert User.objects.get(pk=cast.ada.pk).full_name == "Ada Quist"
        assert Enrollment.objects.get(user=cast.ada).bio != "New."

    def test_p6_is_asked_before_anything_is_written(self, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
        written: list[User] = []
        monkeypatch.setattr("therapists.operations._save_user", lambda user, facts: written.append(user))
        with pytest.raises(AddressTaken):
            change_email(person_id=cast.ada.pk, email="Ben.Okoro@example.org", by="user:1", at=timezone.now())
        assert written == []

    def test_p6_of_two_at_the_same_moment_one_is_refused_by_the_database(
        self, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("therapists.operations._claim_address", lambda user: None)
        with pytest.raises(AddressTaken):
            change_email(person_id=cast.ada.pk, email="Ben.Okoro@example.org", by="user:1", at=timezone.now())
        with pytest.raises(IntegrityError), transaction.atomic():
            fakes.sql("UPDATE users SET email = 'BEN.OKORO@example.org' WHERE id = %s", cast.ada.pk)

    def test_p6_the_api_answers_409_and_says_which_field(self, cast: Cast) -> None:
        answer = client_of(cast.ada).patch(ME, json.dumps({"email": "Ben.OKORO@example.org"}), "application/json")
        assert (answer.status_code, answer["Content-Type"]) == (409, "application/problem+json")
        assert answer.json()["code"] == "address_taken"
        assert answer.json()["errors"][0]["field"] == "email"
        assert "Nothing was changed" in answer.json()["detail"]


class TestTheApi:
    def test_changes_the_address_with_a_line_of_history_that_holds_none(self, cast: Cast) -> None:
        answer = client_of(cast.ada).patch(ME, json.dumps({"email": "ada@new.example"}), "application/json")
        assert answer.status_code == 200
        assert answer.json()["data"]["email"] == "ada@new.example"
        (line,) = History.objects.filter(action="email_changed")
        assert (line.object_id, line.actor) == (str(cast.ada.pk), f"user:{cast.ada.pk}")
        assert "@" not in str(line.__dict__)

    @pytest.mark.parametrize("text", ["", "ada", "a b@example.org", "@"])
    def test_refuses_what_is_no_address(self, cast: Cast, text: str) -> None:
        answer = client_of(cast.ada).patch(ME, json.dumps({"email": text}), "application/json")
        assert answer.status_code == 400

    @pytest.mark.parametrize("change", [{"full_name": "Ada Q."}, {"email": "ada@new.example"}])
    def test_a_change_of_the_user_alone_raises_the_revision(self, cast: Cast, change: dict[str, str]) -> None:
        client = client_of(cast.ada)
        before = client.get(ME).json()["revision"]
        answer = client.patch(ME, json.dumps(change), "application/json").json()
        assert answer["revision"] > before
        assert client.get(ME).json()["revision"] == answer["revision"]


class TestAnAddressGivenUp:
    def test_links_what_comes_late_under_it(self, settled: Settle) -> None:
        person = UserFactory.create(email="erin@example.org")
        change_email(person_id=person.pk, email="erin@new.example", by="user:1", at=timezone.now())
        late = applicant(" ERIN@example.org")
        settled()
        late.refresh_from_db()
        assert (late.user_id, late.email) == (person.pk, "erin@new.example")

    def test_belongs_to_whoever_uses_it_now(self, settled: Settle) -> None:
        first = UserFactory.create(email="erin@example.org")
        change_email(person_id=first.pk, email="erin@new.example", by="user:1", at=timezone.now())
        second = UserFactory.create(email="Erin@example.org")
        late = applicant("erin@example.org")
        settled()
        late.refresh_from_db()
        assert late.user_id == second.pk

    def test_that_two_had_links_nobody(self, settled: Settle) -> None:
        for name in ("one", "two"):
            person = UserFactory.create(email="erin@example.org")
            change_email(person_id=person.pk, email=f"{name}@new.example", by="user:1", at=timezone.now())
        late = applicant("erin@example.org")
        settled()
        late.refresh_from_db()
        assert late.user_id is None

    def test_finds_the_person_for_staff(self, cast: Cast) -> None:
        fakes.sql("UPDATE users SET email = 'ada@new.example' WHERE id = %s", cast.ada.pk)
        assert find_people("ada.quist@", among=[cast.ada.pk, cast.ben.pk]) == [cast.ada.pk]
        assert find_people("ada.quist@", among=[cast.ben.pk]) == []
        assert find_people("ada.quist@example.org", among=[]) == [cast.ada.pk]
        assert identity.find_by_address(" ADA.Quist@example.org") == cast.ada.pk
        cast.sam.groups.set(Group.objects.filter(name="Lead"))
        page = client_of(cast.sam).get("/admin/therapists/user/", {"q": "ada.quist@example.org"})
        assert f"/user/{cast.ada.pk}/change/" in page.content.decode()

    def test_p9_is_forgotten_after_its_time(self, cast: Cast) -> None:
        fakes.sql("UPDATE users SET email = 'ada@new.example' WHERE id = %s", cast.ada.pk)
        fakes.sql("UPDATE user_aliases SET valid_to = now() - interval '366 days'")
        identity.prune(at=timezone.now())
        assert not EmailAlias.objects.exists()


class TestLinking:
    def test_takes_the_row_that_the_rule_names(self, settled: Settle) -> None:
        rows = [
            applicant("erin@example.org", status=status, approved_at=timezone.now())
            for status in (Status.REJECTED, Status.PENDING, Status.APPROVED, Status.APPROVED, Status.PENDING)
        ]
        fakes.sql("UPDATE therapist_enrollments SET bio = 'newest' WHERE id = %s", rows[2].pk)
        person = UserFactory.create(email="Erin@example.org")
        settled()
        assert Enrollment.objects.get(user=person).pk == rows[2].pk
        assert Enrollment.objects.filter(user=None).count() == 4


def reference(email: str) -> str:
    """Say the normal form in other words: trimmed of spaces, composed, lower case."""
    return unicodedata.normalize("NFC", email.strip(" ")).lower()


# What Python and PostgreSQL lower alike; where a lower case letter is two characters they may differ.
LETTERS = st.sampled_from("abzABZ019.+-_@ äÄéÉßøØñÑçÇğĞжЖωΩ" + unicodedata.normalize("NFD", "äÉñ"))


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(LETTERS, max_size=24), min_size=1, max_size=20))
def test_the_normal_form_says_what_its_words_say_and_is_its_own(texts: list[str]) -> None:
    for text in texts:
        once = fakes.sql("SELECT lower(normalize(trim(%s::text)))", text)[0][0]
        assert once == reference(text)
        assert fakes.sql("SELECT lower(normalize(trim(%s::text)))", once)[0][0] == once


def test_the_columns_are_made_by_the_expression_that_queries_use() -> None:
    made = fakes.sql(
        "SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d JOIN pg_attribute a"
        " ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE a.attname = 'email_norm' AND a.attgenerated = 's'"
    )
    expression = normal_form(Value("X", TextField())).resolve_expression(User.objects.all().query)
    asked, _ = User.objects.all().query.get_compiler(connection=connection).compile(expression)
    assert asked.upper().replace("%S", "EMAIL") == "LOWER(NORMALIZE(TRIM(EMAIL)))"
    assert [row[0].upper().replace("BOTH FROM ", "") for row in made] == ["LOWER(NORMALIZE(TRIM(EMAIL)))"] * 2
