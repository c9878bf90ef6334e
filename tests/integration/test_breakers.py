"""A target that fails is left alone, tried by one row at a time, and taken up again slowly; nothing is lost meanwhile."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from interventions.models import History, Intervention, Resolution
from sync import breaker_state, delivery
from sync.models import Attempt, Debt, Ledger
from sync.stops import Breaker
from tests import fakes
from tests.factories import therapists
from therapists.models import Enrollment, Profile, User

TARGET = "therapist_profiles"


@pytest.fixture
def people(transactional_db: None, settings: Any) -> list[User]:
    """Twelve therapists in line, brought up by workers alone."""
    settings.SYNC_RECEIVERS = False
    return therapists(12)


@pytest.fixture
def slow_ramp(settings: Any) -> None:
    """One row a second and no more: however slow the machine is, some of twelve wait."""
    settings.SYNC_BREAKER_RAMP_PER_SECOND, settings.SYNC_BREAKER_RAMP_DOUBLES_SECONDS = 1, 3600
    settings.SYNC_BREAKER_RAMP_SECONDS = 3600


def edit(people: list[User], bio: str) -> None:
    Enrollment.objects.filter(user__in=people).update(bio=bio)


def earlier(seconds: float) -> None:
    """Let so much time pass for every breaker."""
    step = dt.timedelta(seconds=seconds)
    for row in Breaker.objects.all():
        for name in ("since", "probe_at", "throttled_until", "ramp_since"):
            if getattr(row, name) is not None:
                setattr(row, name, getattr(row, name) - step)
        row.recent = [[second - seconds, calls, failed] for second, calls, failed in row.recent]
        row.save()


def fail(times: int) -> None:
    """Let so many batches meet what is owed, as if each time its next try had come."""
    for _ in range(times):
        fakes.sql("UPDATE sync_ledger SET next_attempt_at = clock_timestamp() WHERE next_attempt_at IS NOT NULL")
        delivery.drain()


def word() -> str:
    return Breaker.objects.get(pk=TARGET).word


def states(people: list[User]) -> set[str]:
    return {fakes.states(person.pk)[TARGET] for person in people}


@contextmanager
def opened(people: list[User], bio: str = "Owed behind a lock.") -> Iterator[None]:
    """Hold the whole table until its breaker is open; it stays held inside the block."""
    with fakes.locked_table(TARGET):
        edit(people, bio)
        fail(5)
        assert word() == "open"
        yield


class TestWhileAllIsWell:
    def test_nothing_is_written_and_two_small_tables_are_read(self, people: list[User]) -> None:
        edit(people, "As it should be.")
        with CaptureQueriesContext(connection) as queries:
            delivery.drain()
        assert not Breaker.objects.exists()
        about = [q["sql"] for q in queries if "sync_breaker" in q["sql"] or "sync_pause" in q["sql"]]
        assert not [sql for sql in about if not sql.lstrip().startswith("SELECT")]
        assert fakes.behind() == set()

    def test_one_failure_is_forgotten_after_a_good_minute(self, people: list[User]) -> None:
        with fakes.locked_table(TARGET):
            edit(people, "Owed once.")
            fail(1)
        assert Breaker.objects.get().failures == 1
        earlier(61)
        fail(1)
        row = Breaker.objects.get()
        assert (row.word, row.failures, row.recent, row.lone) == ("closed", 0, [], None)


class TestOpening:
    def test_p9_five_failed_batches_open_it_and_one_item_stands_for_everybody(self, people: list[User]) -> None:
        with opened(people):
            item = Intervention.objects.get()
            assert (item.person_id, item.target, item.code, item.resolved) == (None, TARGET, "55P03", False)
            assert item.cause == f"v1:{TARGET}:sync:transient:55P03:{TARGET}"
            assert states(people) == {"parked"}
        assert fakes.silently_behind() == set()
        lines = History.objects.filter(object_type="target").values_list("actor", "action", "object_id")
        assert list(lines) == [("system", "breaker_open", TARGET)]

    def test_p9_parked_rows_spend_no_attempts(self, people: list[User]) -> None:
        with opened(people):
            tries = Attempt.objects.count()
            fail(5)
            assert Attempt.objects.count() == tries
            assert not Ledger.objects.filter(attempts__gt=5).exists()

    def test_p1_new_debt_is_folded_and_not_attempted(self, people: list[User]) -> None:
        with opened(people[:6]):
            tries = Attempt.objects.count()
            edit(people, "Edited while it was parked.")
            delivery.drain()
            assert not Debt.objects.exists()
            assert Ledger.objects.filter(owed_since__isnull=False, is_paused=True, target=TARGET).count() == 12
            assert Attempt.objects.count() == tries
        assert fakes.silently_behind() == set()

    def test_p3_the_other_targets_go_on(self, people: list[User]) -> None:
        with opened(people):
            User.objects.filter(pk=people[0].pk).update(full_name="Another Name")
            delivery.drain()
            assert Enrollment.objects.get(user=people[0]).full_name == "Another Name"

    def test_p3_a_locked_source_opens_nobody_elses_breaker(self, people: list[User]) -> None:
        with fakes.locked_table("users"):
            fakes.sql("UPDATE therapist_enrollments SET bio = 'Its own copy is free.'")
            fail(6)
            assert not Breaker.objects.filter(pk=TARGET, word="open").exists()

    def test_p3_rows_that_somebody_holds_do_not_open_it(self, people: list[User]) -> None:
        with fakes.locked_row(TARGET, people[0].pk), fakes.locked_row(TARGET, people[1].pk):
            edit(people[:2], "Held by others.")
            fail(6)
        assert not Breaker.objects.filter(word="open").exists()

    def test_p3_one_persons_poison_opens_no_breaker(self, people: list[User]) -> None:
        poison = people[0].pk
        fakes.sql(
            "CREATE FUNCTION poison_on_purpose() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '57014'; END $$;"
            " CREATE TRIGGER poison_on_purpose BEFORE UPDATE ON therapist_profiles FOR EACH ROW"
            f" WHEN (NEW.user_id = {poison}) EXECUTE FUNCTION poison_on_purpose()"
        )
        try:
            edit(people, "One of us is poison.")
            fail(8)
            assert Ledger.objects.get(person_id=poison, target=TARGET).attempts >= 5
            assert not Breaker.objects.filter(word="open").exists()
            assert Intervention.objects.get().person_id == poison
        finally:
            fakes.sql("DROP TRIGGER poison_on_purpose ON therapist_profiles; DROP FUNCTION poison_on_purpose()")

    def test_refusals_never_open_it(self, people: list[User]) -> None:
        with fakes.refusing(TARGET, "bio IS DISTINCT FROM 'Refused.'"):
            for _ in range(6):
                edit(people, "Refused.")
                fail(1)
            assert not Breaker.objects.exists()
        assert Intervention.objects.count() == 12


class TestClosing:
    def test_one_row_is_the_probe_and_a_failed_one_doubles_the_wait(self, people: list[User]) -> None:
        with opened(people):
            tries = Attempt.objects.count()
            earlier(61)
            delivery.drain()
            delivery.drain()
            assert Attempt.objects.count() == tries + 1
            row = Breaker.objects.get(pk=TARGET)
            assert (row.word, row.probe_seconds) == ("open", 120)
            assert Intervention.objects.get().attempts == 6

    @pytest.mark.usefixtures("slow_ramp")
    def test_p8_a_probe_that_is_answered_resolves_the_item_and_lets_the_rest_follow(self, people: list[User]) -> None:
        with opened(people):
            pass
        earlier(61)
        delivery.drain()
        item = Intervention.objects.get()
        assert (word(), item.resolved, item.resolution) == ("closed", True, Resolution.AUTO)
        assert Profile.objects.filter(bio="Owed behind a lock.").count() == 1
        at = Breaker.objects.get(pk=TARGET).ramp_since
        assert at is not None
        assert [breaker_state.pull_forward(at + dt.timedelta(seconds=s)) for s in (0.5, 3, 3, 4)] == [0, 3, 0, 1]
        fakes.settled()
        assert fakes.behind() == set()
        assert states(people) == {"in_sync"}

    @pytest.mark.usefixtures("slow_ramp")
    def test_new_edits_come_before_the_backlog(self, people: list[User]) -> None:
        with opened(people):
            pass
        earlier(61)
        delivery.drain()
        edit(people[-1:], "Edited just now.")
        delivery.drain()
        assert Profile.objects.get(user=people[-1]).bio == "Edited just now."
        assert Ledger.objects.filter(is_paused=True).exists()

    @pytest.mark.usefixtures("slow_ramp")
    def test_p3_who_never_failed_is_the_probe_before_those_who_did(self, people: list[User]) -> None:
        with opened(people):
            edit(people[-1:], "Edited while it was open.")
            fail(1)  # whatever was not parked yet is parked now
            Ledger.objects.update(attempts=3)
            Ledger.objects.filter(target=TARGET, person_id=people[-1].pk).update(attempts=0, owed_since=timezone.now())
        fakes.sql(
            "CREATE FUNCTION ill() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE 'busy' USING ERRCODE = 'lock_not_available'; END $$;"
            f" CREATE TRIGGER ill BEFORE UPDATE ON {TARGET} FOR EACH ROW WHEN (NEW.user_id <> {people[-1].pk})"
            " EXECUTE FUNCTION ill()"
        )
        try:
            earlier(61)
            delivery.drain()
        finally:
            fakes.sql(f"DROP TRIGGER ill ON {TARGET}; DROP FUNCTION ill()")
        assert word() == "closed"
        assert Profile.objects.get(user=people[-1]).bio == "Edited while it was open."

    def test_with_nothing_left_to_try_it_closes_by_itself(self, people: list[User]) -> None:
        with opened(people):
            pass
        with fakes.asleep():
            User.objects.filter(pk__in=[p.pk for p in people]).update(is_active=False)
            Ledger.objects.all().delete()
        earlier(61)
        delivery.drain()
        assert word() == "closed"
        assert Intervention.objects.get().resolved

    def test_p7_rows_that_were_parked_are_found_even_when_the_breaker_is_forgotten(self, people: list[User]) -> None:
        with opened(people):
            fail(1)
            assert Ledger.objects.filter(is_paused=True).count() == 12
        Breaker.objects.all().delete()
        delivery.drain()
        assert fakes.behind() == set()

    def test_a_reset_tries_at_once(self, people: list[User]) -> None:
        with opened(people):
            pass
        breaker_state.reset(TARGET, timezone.now())
        delivery.drain()
        assert word() == "closed"
