"""The staff's pages about people: what they show of copies, and what their forms write."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from interventions.models import History
from sync.mirrors import Mirror
from tests import fakes
from tests.factories import Cast, UserFactory, therapists
from therapists.admin.base import owners
from therapists.mirrors import DECLARATION
from therapists.models import Enrollment, Profile, Status, User, UserType
from therapists.roles import LEAD, OPERATOR, sync_groups

LISTS = ("user", "enrollment", "profile")
Form = dict[str, Any]


def list_of(model: str) -> str:
    return reverse(f"admin:therapists_{model}_changelist")


def page_of(row: Enrollment | Profile | User) -> str:
    return reverse(f"admin:therapists_{row._meta.model_name}_change", args=[row.pk])


def decision_of(row: Enrollment) -> str:
    return reverse("admin:therapists_enrollment_decide", args=[row.pk])


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def read(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def filled(client: Client, row: Enrollment | Profile | User, **changed: Any) -> Form:
    """Fill the row's form as a browser does: what it shows and remembers, and what the person changes."""
    form = client.get(page_of(row)).context["adminform"].form
    shown: Form = {}
    for name in form.fields:
        value = form[name].value()
        if value not in (None, False, []):
            shown[name] = shown[f"initial-{name}"] = value
    return shown | changed


def saved(client: Client, row: Enrollment | Profile | User, form: Form) -> str:
    answer = client.post(page_of(row), form, follow=True)
    assert answer.redirect_chain, answer.context["errors"]
    return " ".join(str(message) for message in answer.context["messages"])


@pytest.fixture
def root(transactional_db: None) -> User:
    return UserFactory.create(email="root@example.org", full_name="Root", is_staff=True, is_superuser=True,
                              user_type=UserType.STAFF)  # fmt: skip


@pytest.fixture
def lena(transactional_db: None) -> User:
    sync_groups()
    lena: User = UserFactory.create(email="lena@example.org", is_staff=True, user_type=UserType.STAFF)
    lena.groups.set(Group.objects.filter(name=LEAD))
    return lena


@pytest.fixture
def desk(root: User) -> Client:
    return signed_in(root)


class TestLists:
    @pytest.mark.parametrize("model", LISTS)
    def test_say_in_a_word_how_the_copies_of_each_row_stand(self, model: str, desk: Client, cast: Cast) -> None:
        def word(name: str) -> str:
            row = next(r for r in read(desk, list_of(model)).split("<tr") if name in r)
            return str(re.findall(r'kw-state [\w-]+">([^<]*)<', row)[0])

        assert (word("Ada Quist"), word("Cleo Marsh")) == ("up to date", "2 of 3, following")
        with fakes.refusing("therapist_profiles", "bio IS NULL"):
            Enrollment.objects.filter(user=cast.ada).update(bio="Refused there.")
            fakes.settled()
            assert word("Ada Quist") == "needs a person"

    @pytest.mark.parametrize("model", LISTS)
    def test_cost_the_same_number_of_queries_for_few_and_for_many(self, model: str, desk: Client) -> None:
        def cost() -> int:
            with CaptureQueriesContext(connection) as queries:
                read(desk, list_of(model))
            return len(queries)

        therapists(3)
        read(desk, list_of(model))
        few = cost()
        therapists(30)
        assert cost() == few <= 20

    @pytest.mark.parametrize("model", LISTS)
    def test_find_by_name_by_address_and_by_id(self, model: str, desk: Client, cast: Cast) -> None:
        for words in ("Cleo", "cleo.marsh@", str(cast.cleo.pk)):
            page = read(desk, f"{list_of(model)}?q={words}")
            assert "Cleo Marsh" in page
            assert "Ada Quist" not in page

    def test_call_an_applicant_not_linked(self, desk: Client) -> None:
        Enrollment.objects.create(email="new@example.org", full_name="Nia Applicant")
        assert "not linked" in read(desk, list_of("enrollment"))

    def test_answer_soon_when_the_table_is_locked(
        self, desk: Client, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("therapists.admin.base.LOCK_MS", 100)
        profile = Profile.objects.get(user=cast.ada)
        with fakes.locked_table("therapist_profiles"):
            for address in (list_of("profile"), page_of(profile)):
                answer = desk.get(address)
                assert answer.status_code == 503
                assert "cannot be read right now" in answer.content.decode()
            assert "Ada Quist" in read(desk, list_of("user"))

    def test_call_copies_unreadable_rather_than_fine(self, desk: Client, cast: Cast) -> None:
        with fakes.locked_table("sync_ledger"):
            page = read(desk, list_of("user"))
        assert "cannot be read" in page
        assert "up to date" not in page


class TestChangePages:
    def test_list_every_place_with_its_state_and_the_way_to_its_interventions(self, desk: Client, cast: Cast) -> None:
        page = read(desk, page_of(cast.cleo))
        assert page.count("up to date") == 2
        assert re.search(r'follows now.*<td data-place="Next try">now</td>', page, re.DOTALL)
        assert f"?tab=all&amp;person_id__exact={cast.cleo.pk}" in page
        assert page_of(Profile.objects.get(user=cast.cleo)) in page

    def test_leave_no_declared_copy_to_be_edited(self, desk: Client, cast: Cast) -> None:
        rows: dict[str, Enrollment | Profile | User] = {"users": cast.ada, "therapist_enrollments": Enrollment.objects.get(user=cast.ada),
                "therapist_profiles": Profile.objects.get(user=cast.ada)}  # fmt: skip
        for mirror in DECLARATION.mirrors:
            if not isinstance(mirror, Mirror):
                continue
            for copy in mirror.copies:
                row = rows[copy.place.table]
                answer = desk.get(page_of(row))
                assert copy.place.column not in answer.context["adminform"].form.fields
                assert owners(type(row))[copy.place.column] in answer.content.decode()

    def test_write_nothing_into_a_copy_that_is_posted_all_the_same(self, desk: Client, cast: Cast) -> None:
        profile = Profile.objects.get(user=cast.ada)
        saved(desk, profile, filled(desk, profile, bio="Written past the source.", verification_status="rejected"))
        profile.refresh_from_db()
        assert (profile.bio, profile.verification_status) == ("Twelve years with couples.", Status.APPROVED)

    def test_call_nothing_a_copy_that_an_applicant_owns(self, desk: Client) -> None:
        applicant = Enrollment.objects.create(email="new@example.org", full_name="Nia Applicant")
        page = read(desk, page_of(applicant))
        assert 'name="full_name"' in page
        assert "Change it at its source" not in page

    def test_show_nothing_of_a_password(self, desk: Client, cast: Cast) -> None:
        page = read(desk, page_of(cast.ada))
        assert not any(part in page for part in cast.ada.password.split("$"))
        assert f"/user/{cast.ada.pk}/password/" in page


class TestSaves:
    def test_copy_and_say_so(self, desk: Client, cast: Cast) -> None:
        row = Enrollment.objects.get(user=cast.ada)
        said = saved(desk, row, filled(desk, row, bio="Thirteen years with couples."))
        assert said == "Saved. Everything is up to date."
        assert Profile.objects.get(user=cast.ada).bio == "Thirteen years with couples."

    def test_are_kept_and_told_truly_when_a_copy_fails(self, desk: Client, cast: Cast) -> None:
        row = Enrollment.objects.get(user=cast.ada)
        with fakes.refusing("therapist_profiles", "bio IS NULL"):
            said = saved(desk, row, filled(desk, row, bio="Fourteen years."))
        row.refresh_from_db()
        assert row.bio == "Fourteen years."
        assert said == "Saved. Two of three places are up to date; one needs our staff, who have been told."

    def test_leave_alone_what_somebody_else_wrote_meanwhile(self, desk: Client, cast: Cast) -> None:
        row = Enrollment.objects.get(user=cast.ada)
        form = filled(desk, row, experience_years=13)
        Enrollment.objects.filter(pk=row.pk).update(bio="Written meanwhile.", phone="+44 20 7946 1111")
        saved(desk, row, form)
        row.refresh_from_db()
        assert (row.bio, row.phone, row.experience_years) == ("Written meanwhile.", "+44 20 7946 1111", 13)

    def test_of_a_status_are_not_possible(self, desk: Client, cast: Cast) -> None:
        row = Enrollment.objects.get(user=cast.ada)
        saved(desk, row, filled(desk, row, status="rejected", approved_at_0="2020-01-01", approved_at_1="00:00"))
        row.refresh_from_db()
        assert row.status == Status.APPROVED

    def test_say_when_the_row_is_held_by_somebody(
        self, desk: Client, cast: Cast, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("therapists.admin.base.LOCK_MS", 100)
        row = Enrollment.objects.get(user=cast.ada)
        form = filled(desk, row, bio="Held.")
        with fakes.locked_row("therapist_enrollments", cast.ada.pk):
            assert "nothing was changed" in saved(desk, row, form)
        row.refresh_from_db()
        assert row.bio != "Held."

    def test_refuse_an_address_that_is_taken_in_another_spelling(self, desk: Client, cast: Cast) -> None:
        answer = desk.post(page_of(cast.ada), filled(desk, cast.ada, email="BEN.okoro@Example.org "))
        assert answer.status_code == 200
        assert "perhaps in another spelling" in answer.content.decode()

    def test_make_a_user_who_can_sign_in_by_address(self, desk: Client) -> None:
        word = "quite-a-long-word-9"
        form = {"email": "Nia@Example.org", "full_name": "Nia", "user_type": "client", "usable_password": "true",
                "password1": word, "password2": word}  # fmt: skip
        answer = desk.post(reverse("admin:therapists_user_add"), form)
        assert answer.status_code == 302
        assert Client().login(username="nia@example.org", password=word)


class TestPowers:
    def test_are_for_superusers_to_give(self, cast: Cast, root: User) -> None:
        permission = cast.sam.user_permissions.model.objects.get(codename="change_user")
        cast.sam.user_permissions.add(permission)
        client = signed_in(cast.sam)
        form = filled(client, cast.sam, full_name="Sam the Great")
        saved(client, cast.sam, form | {"is_superuser": "on", "is_staff": "on"})
        cast.sam.refresh_from_db()
        assert (cast.sam.full_name, cast.sam.is_superuser) == ("Sam the Great", False)

    def test_to_delete_are_nobody_elses(self, cast: Cast, root: User) -> None:
        permissions = cast.sam.user_permissions.model.objects.filter(codename__startswith="delete_")
        cast.sam.user_permissions.add(*permissions)
        for row in (cast.ada, Enrollment.objects.get(user=cast.ada), Profile.objects.get(user=cast.ada)):
            address = reverse(f"admin:therapists_{row._meta.model_name}_delete", args=[row.pk])
            assert signed_in(cast.sam).post(address, {"post": "yes"}).status_code == 403
            assert signed_in(root).get(address).status_code == 200


class TestDecisions:
    def test_approve_keep_a_line_of_history_and_say_how_the_copies_stand(self, lena: User, cast: Cast) -> None:
        row = Enrollment.objects.get(user=cast.ada)
        answer = signed_in(lena).post(decision_of(row), {"decision": "suspend", "reason": "Complaint."}, follow=True)
        row.refresh_from_db()
        assert (row.status, row.status_reason, row.approved_at) == (Status.SUSPENDED, "Complaint.", None)
        assert [str(m) for m in answer.context["messages"]] == ["Suspended. Everything is up to date."]
        line = History.objects.of("enrollment", str(row.pk)).get()
        assert (line.actor, line.from_state, line.to_state) == (f"user:{lena.pk}", "approved", "suspended")
        cast.ada.refresh_from_db()
        assert not cast.ada.is_verified

    def test_are_told_truly_when_the_copies_cannot_follow(self, lena: User, cast: Cast) -> None:
        row = Enrollment.objects.get(user=cast.ada)
        with fakes.refusing("therapist_profiles", "verification_status = 'approved'"):
            answer = signed_in(lena).post(decision_of(row), {"decision": "reject", "reason": ""}, follow=True)
        said = [str(m) for m in answer.context["messages"]]
        assert said == ["Rejected. Two of three places are up to date; one needs our staff, who have been told."]

    def test_about_an_applicant_say_that_there_are_no_copies(self, lena: User) -> None:
        row = Enrollment.objects.create(email="new@example.org", full_name="Nia")
        answer = signed_in(lena).post(decision_of(row), {"decision": "approve"}, follow=True)
        assert "no copies" in "".join(str(m) for m in answer.context["messages"])

    def test_are_offered_to_nobody_without_the_permission(self, cast: Cast) -> None:
        sync_groups()
        cast.sam.groups.set(Group.objects.filter(name=OPERATOR))
        row = Enrollment.objects.get(user=cast.ada)
        client = signed_in(cast.sam)
        assert decision_of(row) not in read(client, page_of(row))
        assert client.post(decision_of(row), {"decision": "reject"}).status_code == 403
        row.refresh_from_db()
        assert row.status == Status.APPROVED

    @pytest.mark.parametrize("form", [{}, {"decision": "promote"}])
    def test_that_say_nothing_change_nothing(self, form: Form, lena: User, cast: Cast) -> None:
        row = Enrollment.objects.get(user=cast.ada)
        answer = signed_in(lena).post(decision_of(row), form, follow=True)
        assert "Nothing was changed" in "".join(str(m) for m in answer.context["messages"])

    def test_come_by_post_with_a_token_only(self, lena: User, cast: Cast) -> None:
        row = Enrollment.objects.get(user=cast.ada)
        assert signed_in(lena).get(decision_of(row)).status_code == 405
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(lena)
        assert strict.post(decision_of(row), {"decision": "reject"}).status_code == 403
        row.refresh_from_db()
        assert row.status == Status.APPROVED
