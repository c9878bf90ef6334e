"""Causes follow the live items: one live row for each reason, resolved with its last item, reopened when it comes back."""

import datetime as dt
import threading
from collections.abc import Callable

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from interventions import causes, items
from interventions.models import Cause, CauseState, History, Intervention, Resolution, RetryRun, RetryState, State
from tests import fakes

TARGET = "therapist_profiles"
NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
FINGERPRINT = f"v1:{TARGET}:sync:refused:23514:bio_is_short"


def opened(first: int, end: int, *, code: str = "23514", at: dt.datetime = NOW) -> None:
    failures = [
        items.Failure(
            target=TARGET, code=code, failure_class="refused", detail="bio_is_short", attempts=1, person_id=person
        )
        for person in range(first, end)
    ]
    items.open_items(failures=failures, at=at)


def mended(first: int, end: int, *, at: dt.datetime = NOW) -> None:
    entities: dict[tuple[int, str], int | None] = {(person, TARGET): None for person in range(first, end)}
    items.settle_items(entities=entities, resolution=Resolution.AUTO, at=at)


def lines(cause: Cause) -> list[tuple[str, str | None, str | None]]:
    return list(History.objects.of("cause", str(cause.pk)).values_list("action", "from_state", "to_state"))


class TestFollow:
    def test_makes_one_row_for_each_reason_whoever_it_is_about(self, transactional_db: None) -> None:
        opened(1, 30)
        opened(30, 33, code="22001", at=NOW + dt.timedelta(minutes=1))
        assert causes.follow(at=NOW) == causes.Followed(opened=2)
        first, second = Cause.objects.order_by("first_at")
        assert (first.fingerprint, first.target, first.code) == (FINGERPRINT, TARGET, "23514")
        assert (first.state, first.first_at, second.first_at) == ("open", NOW, NOW + dt.timedelta(minutes=1))
        assert lines(first) == [("cause_opened", None, "open")]
        assert causes.follow(at=NOW) == causes.Followed()

    def test_resolves_what_no_live_item_bears_and_only_then(self, transactional_db: None) -> None:
        opened(1, 3)
        causes.follow(at=NOW)
        mended(1, 2)
        assert causes.follow(at=NOW) == causes.Followed()
        mended(2, 3)
        assert causes.follow(at=NOW + dt.timedelta(minutes=2)) == causes.Followed(resolved=1)
        cause = Cause.objects.get()
        assert (cause.state, cause.resolved_at) == ("resolved", NOW + dt.timedelta(minutes=2))
        assert lines(cause)[-1] == ("cause_resolved", "open", "resolved")

    def test_reopens_the_same_row_within_a_week_and_asks_for_somebody_anew(self, transactional_db: None) -> None:
        opened(1, 2)
        causes.follow(at=NOW)
        Cause.objects.update(
            state=CauseState.ACKNOWLEDGED, owner="user:7", acknowledged_at=NOW, acknowledged_by="user:7"
        )
        mended(1, 2)
        causes.follow(at=NOW)
        again = NOW + dt.timedelta(days=6)
        opened(1, 2, at=again)
        assert causes.follow(at=again) == causes.Followed(reopened=1)
        cause = Cause.objects.get()
        assert (cause.state, cause.reopened_at, cause.resolved_at) == ("reopened", again, None)
        assert (cause.owner, cause.acknowledged_at, cause.acknowledged_by) == ("user:7", None, None)
        assert lines(cause)[-1] == ("cause_reopened", "resolved", "reopened")

    def test_begins_a_new_row_after_more_than_a_week(self, transactional_db: None) -> None:
        opened(1, 2)
        causes.follow(at=NOW)
        mended(1, 2)
        causes.follow(at=NOW)
        later = NOW + dt.timedelta(days=7, seconds=1)
        opened(1, 2, at=later)
        assert causes.follow(at=later) == causes.Followed(opened=1)
        assert sorted(Cause.objects.values_list("state", flat=True)) == ["open", "resolved"]

    def test_follows_what_programs_write_who_know_the_founding_columns_alone(self, transactional_db: None) -> None:
        fakes.sql("INSERT INTO manual_intervention_log (operation, error) VALUES ('import', 'It failed.')")
        causes.follow(at=timezone.now())
        assert Cause.objects.values_list("fingerprint", "target", "code", "state").get() == ("", "", "", "open")
        fakes.sql("UPDATE manual_intervention_log SET resolved = true")
        assert causes.follow(at=timezone.now()).resolved == 1

    def test_two_at_once_make_one_row(
        self, transactional_db: None, second_connection: Callable[..., fakes.Connection]
    ) -> None:
        opened(1, 2)
        other = second_connection()
        with other.transaction():
            other.execute("SELECT pg_advisory_xact_lock(%s)", [causes._LOCK])
            assert causes.follow(at=NOW) == causes.Followed()
        found: list[Cause | None] = []

        def ensure() -> None:
            found.append(causes.ensure(fingerprint=FINGERPRINT, at=NOW))
            connection.close()

        together = [threading.Thread(target=ensure) for _ in range(6)]
        for one in together:
            one.start()
        for one in together:
            one.join()
        cause = Cause.objects.get()
        assert found == [cause] * 6
        assert lines(cause) == [("cause_opened", None, "open")]

    def test_the_database_refuses_a_second_live_row_and_an_endless_ignoring(self, transactional_db: None) -> None:
        opened(1, 2)
        causes.follow(at=NOW)
        with pytest.raises(IntegrityError, match="cause_one_live"), transaction.atomic():
            Cause.objects.create(fingerprint=FINGERPRINT, first_at=NOW)
        for words in (
            {"ignored_at": NOW, "ignored_until": NOW + dt.timedelta(days=31), "ignored_reason": "A known one."},
            {"ignored_at": NOW, "ignored_until": NOW + dt.timedelta(days=1), "ignored_reason": ""},
            {"ignored_at": NOW, "ignored_until": NOW + dt.timedelta(days=1), "ignored_reason": None},
            {"ignored_at": None, "ignored_until": NOW + dt.timedelta(days=1), "ignored_reason": "A known one."},
        ):
            with pytest.raises(IntegrityError, match="cause_ignored_for_a_while"), transaction.atomic():
                Cause.objects.update(**words)
        Cause.objects.update(ignored_at=NOW, ignored_until=NOW + dt.timedelta(days=30), ignored_reason="A known one.")

    def test_reads_one_entry_of_the_index_for_each_cause(self, transactional_db: None) -> None:
        opened(1, 2001)
        at = timezone.now()
        Intervention.objects.filter(person_id__gt=100).update(resolved=True, state=State.RESOLVED, resolved_at=at)
        # What tests before this one left in an index is no reason to take another.
        fakes.sql("REINDEX TABLE manual_intervention_log")
        fakes.sql("ANALYZE manual_intervention_log")
        plan = " ".join(
            row[0] for row in fakes.sql(f"EXPLAIN (ANALYZE, BUFFERS) WITH RECURSIVE {causes._LIVE} SELECT * FROM live")
        )
        assert "Seq Scan on manual_intervention_log" not in plan
        assert "intervention_of_cause" in plan


class TestEnsure:
    def test_gives_the_live_row_and_none_where_nothing_is_open(self, transactional_db: None) -> None:
        assert causes.ensure(fingerprint=FINGERPRINT, at=NOW) is None
        opened(1, 2)
        made = causes.ensure(fingerprint=FINGERPRINT, at=NOW)
        assert made is not None
        assert causes.ensure(fingerprint=FINGERPRINT, at=NOW) == made
        mended(1, 2)
        causes.follow(at=NOW)
        assert causes.ensure(fingerprint=FINGERPRINT, at=NOW) is None


class TestStanding:
    def test_tells_what_alerts_go_by(self, transactional_db: None) -> None:
        opened(1, 5)
        opened(5, 6, code="22001", at=NOW + dt.timedelta(minutes=30))
        at = NOW + dt.timedelta(hours=1)
        unseen, _ = causes.standing(at=at)
        assert (unseen.row, unseen.is_acknowledged, unseen.items) == (None, False, 4)
        causes.follow(at=at)
        many, one = causes.standing(at=at)
        assert (many.fingerprint, many.items, many.people, many.age) == (FINGERPRINT, 4, 4, dt.timedelta(hours=1))
        assert (one.code, one.items, one.age) == ("22001", 1, dt.timedelta(minutes=30))
        assert not any([many.is_acknowledged, many.is_snoozed, many.is_ignored, many.is_retrying])
        assert [standing.items for standing in causes.standing(at=at, limit=1)] == [4]

    def test_snoozing_and_ignoring_end_by_themselves(self, transactional_db: None) -> None:
        opened(1, 2)
        causes.follow(at=NOW)
        soon = NOW + dt.timedelta(hours=2)
        Cause.objects.update(snoozed_until=soon, ignored_at=NOW, ignored_until=soon, ignored_reason="Known until two.")
        (before,) = causes.standing(at=NOW + dt.timedelta(hours=1))
        assert (before.is_snoozed, before.is_ignored) == (True, True)
        (after,) = causes.standing(at=soon)
        assert (after.is_snoozed, after.is_ignored) == (False, False)

    def test_a_cause_is_retrying_while_a_bulk_retry_of_it_is_under_way(self, transactional_db: None) -> None:
        opened(1, 2)
        run = RetryRun.objects.create(
            title="One", cause=FINGERPRINT, state=RetryState.RUNNING, asked_by="user:1", asked_at=NOW
        )
        assert [one.is_retrying for one in causes.standing(at=NOW)] == [True]
        RetryRun.objects.filter(pk=run.pk).update(state=RetryState.PAUSED)
        assert [one.is_retrying for one in causes.standing(at=NOW)] == [False]


def test_nothing_that_fails_or_is_mended_waits_for_a_cause(
    transactional_db: None, second_connection: Callable[..., fakes.Connection]
) -> None:
    opened(1, 2)
    causes.follow(at=NOW)
    other = second_connection()
    with other.transaction():
        other.execute("LOCK TABLE intervention_cause IN ACCESS EXCLUSIVE MODE")
        with transaction.atomic():
            fakes.sql("SET LOCAL lock_timeout = '1s'")
            opened(2, 3)
            mended(1, 2)
    assert Intervention.objects.filter(resolved=False).count() == 1
