"""A target's page: how it is and why, what is owed, tried and done there, and who may switch it."""

import datetime as dt

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from interventions.models import History
from sync.admin import tries
from sync.models import Attempt
from sync.stops import Pause
from tests import fakes
from tests.factories import Cast, UserFactory, parked_target, therapists
from therapists.models import Enrollment, User, UserType
from therapists.roles import LEAD

TARGET = "therapist_profiles"
HERE = reverse("target", args=[TARGET])


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def lead(cast: Cast) -> Client:
    user: User = UserFactory.create(user_type=UserType.STAFF, is_staff=True, full_name="Lena Fischer")
    user.groups.add(Group.objects.get(name=LEAD))
    return client_of(user)


@pytest.fixture
def looking(cast: Cast) -> Client:
    return client_of(cast.vic)


def page(client: Client) -> str:
    answer = client.get(HERE)
    assert answer.status_code == 200
    return answer.content.decode()


def tried(number: int, *, target: str = TARGET, outcome: str = "23514", hours: float = 0) -> None:
    """Put so many tries on record."""
    at = timezone.now() - dt.timedelta(hours=hours)
    Attempt.objects.bulk_create(
        Attempt(person_id=7, target=target, at=at, outcome=outcome, error_object="", attempt=1, duration_ms=3)
        for _ in range(number)
    )


class TestTheState:
    def test_is_told_with_the_reason_since_when_and_when_it_is_tried_next(self, looking: Client) -> None:
        parked_target()
        text = page(looking)
        assert '<span class="kw-state kw-open">parked</span>' in text
        assert "because its row or table is locked by somebody else since <time" in text
        assert "tried next in" in text
        assert "What you can do:" in text

    def test_of_a_place_that_works_is_one_word(self, looking: Client) -> None:
        text = page(looking)
        assert '<span class="kw-state kw-resolved">working</span>' in text
        assert "What you can do:" not in text

    def test_that_cannot_be_read_is_no_zero(self, looking: Client) -> None:
        with fakes.locked_table("sync_ledger"):
            text = page(looking)
        assert "cannot be read" in text
        assert "nothing owed" not in text
        assert ">working<" not in text

    @pytest.mark.parametrize(
        ("table", "empty"),
        [("sync_attempt", "No try failed here"), ("intervention_history", "Nobody has switched it"),
         ("sync_attempt", "None of the newest tries"), ("manual_intervention_log", "<strong>0</strong>\n      <span class=\"kw-quiet\">interventions")],
    )  # fmt: skip
    def test_every_part_says_itself_that_it_cannot_be_read(self, looking: Client, table: str, empty: str) -> None:
        assert empty in page(looking)
        with fakes.locked_table(table):
            text = page(looking)
        assert "cannot be read" in text
        assert empty not in text


class TestSwitching:
    def test_off_with_a_reason_and_on_again_comes_back_here(self, lead: Client) -> None:
        words = {"scope": "target", "key": TARGET, "next": HERE}
        answer = lead.post(reverse("switch"), words | {"action": "pause", "note": "Moving it."}, follow=True)
        assert answer.redirect_chain[-1][0] == HERE
        text = answer.content.decode()
        assert "by Lena Fischer since" in text
        assert "“Moving it.”" in text
        lead.post(reverse("switch"), words | {"action": "resume"})
        text = page(lead)
        assert "Switched on again, by Lena Fischer" in text
        assert not Pause.objects.exists()

    def test_try_now_is_offered_where_there_is_something_to_try(self, lead: Client) -> None:
        assert "Try now" not in page(lead)
        parked_target()
        assert f"Try now: {TARGET}" in page(lead)

    def test_p10_is_not_offered_to_who_may_only_look(self, looking: Client) -> None:
        parked_target()
        text = page(looking)
        assert "Try now" not in text
        assert "Switch off" not in text


class TestTheDay:
    def test_counts_this_place_alone_and_failures_apart(self, looking: Client) -> None:
        tried(3)
        tried(2, outcome="settled")
        tried(5, target="users")
        tried(9, hours=30)
        mended, failed = looking.get(HERE).context["charts"]
        assert (mended.total, failed.total) == (2, 3)
        assert page(looking).count("Show as table") == 2

    def test_says_why_tries_failed_in_words(self, looking: Client) -> None:
        tried(4)
        tried(1, outcome="55P03")
        found = tries.failing(TARGET, timezone.now())
        assert [(one.code, one.number) for one in found] == [("23514", 4), ("55P03", 1)]
        assert "the place refuses the value by a CHECK constraint" in page(looking)

    def test_lists_the_newest_tries_and_walks_no_further(
        self, monkeypatch: pytest.MonkeyPatch, looking: Client
    ) -> None:
        tried(1)
        tried(12, target="users")
        assert [one.code for one in tries.last(TARGET)] == ["23514"]
        monkeypatch.setattr(tries, "NEWEST_LOOKED_AT", 10)
        assert tries.last(TARGET) == []


class TestThePage:
    def test_leads_to_the_interventions_of_this_place(self, looking: Client) -> None:
        people = therapists(2)
        with fakes.refusing(TARGET, "bio IS DISTINCT FROM 'Refused there.'"):
            Enrollment.objects.filter(user__in=people).update(bio="Refused there.")
            fakes.sweep()
        text = page(looking)
        inbox = f"{reverse('admin:interventions_intervention_changelist')}?target={TARGET}"
        assert f'href="{inbox}"' in text
        assert looking.get(inbox).context["cl"].result_count == 2
        assert "<strong>2</strong>" in text

    def test_is_led_to_by_the_front_page(self, looking: Client) -> None:
        assert looking.get(reverse("admin:index")).content.decode().count(f'href="{HERE}"') == 1

    def test_tells_nothing_of_anybody(self, looking: Client, cast: Cast) -> None:
        tried(2)
        History.objects.create(actor="system", action="breaker_open", object_type="target", object_id=TARGET)
        text = page(looking)
        assert "Left alone after failures" in text
        assert cast.ada.email not in text
        assert cast.ada.full_name not in text

    def test_costs_the_same_whatever_is_on_record(self, looking: Client) -> None:
        page(looking)
        with CaptureQueriesContext(connection) as few:
            page(looking)
        tried(50)
        tried(50, outcome="settled")
        with CaptureQueriesContext(connection) as many:
            page(looking)
        assert len(many) == len(few) <= 45

    def test_of_a_place_that_is_not_declared_is_not_there(self, looking: Client) -> None:
        assert looking.get(reverse("target", args=["nowhere"])).status_code == 404

    def test_p10_is_for_those_who_may_look_and_writes_nothing(self, cast: Cast, looking: Client) -> None:
        assert looking.post(HERE).status_code == 405
        assert Client().get(HERE).status_code == 302
        assert client_of(cast.ada).get(HERE).status_code == 302
        cast.vic.user_permissions.clear()
        assert client_of(User.objects.get(pk=cast.vic.pk)).get(HERE).status_code == 403
