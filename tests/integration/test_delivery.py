"""What workers do with what is owed: all of it, set by set, and one poison row stops nobody."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from interventions.models import Intervention
from sync import delivery, drift, ledger, queries, reconcile, repair, switches, tasks, triggers
from sync.claims import Entity
from sync.models import Attempt, Debt, Ledger, LostValue
from sync.pauses import Scope
from tests import fakes
from tests.factories import Cast, therapists
from therapists.models import Enrollment, Profile

TARGET = "therapist_profiles"


@pytest.fixture(autouse=True)
def _workers_alone(settings: Any, copying_off: None) -> None:
    settings.SYNC_RECEIVERS = False


def test_p9_one_poison_row_among_five_hundred_stops_nobody(transactional_db: None) -> None:
    people = therapists(500)
    poison = people[250].pk
    fakes.sql("UPDATE therapist_enrollments SET bio = CASE user_id WHEN %s THEN 'poison' ELSE 'fine' END", poison)
    with fakes.refusing(TARGET, "bio <> 'poison'"):
        report = delivery.drain()
        assert (report.settled, report.failed) == (499, 1)
        assert fakes.behind() == {(poison, TARGET)}
        item = Intervention.objects.get()
        assert (item.person_id, item.code) == (poison, "23514")
        assert "refused_on_purpose" in item.error
    fakes.sweep()
    assert fakes.behind() == set()


def test_p9_a_batch_costs_as_many_statements_for_forty_as_for_ten(transactional_db: None) -> None:
    people = therapists(50)
    counts = []
    for some in (people[:10], people[10:]):
        Enrollment.objects.filter(user__in=some).update(bio="new", status="suspended")
        with CaptureQueriesContext(connection) as caught:
            delivery.drain()
        counts.append(len(caught))
    assert counts[0] == counts[1]


def test_p9_a_task_takes_up_so_many_batches_and_leaves_the_rest(
    transactional_db: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A slow machine would make the second batch smaller.
    monkeypatch.setattr(delivery, "BATCH_SECONDS", 60)
    settings.SYNC_BATCH_SIZE = 5
    therapists(20)
    Enrollment.objects.update(bio="new")
    assert delivery.drain(batches=2).claimed == 10
    assert Debt.objects.count() == 10
    assert fakes.silently_behind() == set()


def test_p1_debt_that_comes_during_a_batch_stays(
    cast: Cast, second_connection: Callable[..., fakes.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    Enrollment.objects.filter(user=cast.ada).update(bio="first")
    bring, other = reconcile.bring, second_connection()

    def bring_while_somebody_owes(entities: set[Entity], **words: Any) -> reconcile.Result:
        result = bring(entities, **words)
        other.execute("INSERT INTO sync_debt (person_id, targets, revision) VALUES (%s, '{users}', 1)", [cast.ada.pk])
        return result

    monkeypatch.setattr(reconcile, "bring", bring_while_somebody_owes)
    delivery.drain(batches=1)
    assert [debt.targets for debt in Debt.objects.filter(person_id=cast.ada.pk)] == [["users"]]


def test_p7_what_is_owed_to_a_target_that_nobody_declares_is_kept(cast: Cast) -> None:
    ledger.owe(people=[cast.ada.pk, cast.ben.pk], targets=["renamed_by_a_release"], reason="uncopied")
    delivery.drain()
    assert Ledger.objects.filter(target="renamed_by_a_release", owed_since__isnull=False).count() == 2
    items = Intervention.objects.filter(resolved=False, target="renamed_by_a_release")
    assert len({item.cause for item in items}) == 1


def test_p1_the_sweep_is_the_floor_under_lost_rings(cast: Cast) -> None:
    Enrollment.objects.filter(user=cast.ada).update(bio="nobody rang")
    fakes.sweep()
    assert Profile.objects.get(user=cast.ada).bio == "nobody rang"
    assert queries.oldest_owed() is None


def test_p2_a_retry_writes_the_source_as_it_is_and_not_as_it_was(cast: Cast) -> None:
    with fakes.locked_row(TARGET, cast.ada.pk):
        Enrollment.objects.filter(user=cast.ada).update(bio="at the failure")
        fakes.settled()
    with fakes.asleep():
        Enrollment.objects.filter(user=cast.ada).update(bio="as it is now")
    fakes.settled()
    assert Profile.objects.get(user=cast.ada).bio == "as it is now"


def test_p7_what_keeps_failing_waits_longer_and_never_beyond_its_cap(
    cast: Cast, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda least, longest: (least + longest) / 2)  # each pause is drawn anew
    Enrollment.objects.filter(user=cast.ada).update(bio="late")
    with fakes.locked_row(TARGET, cast.ada.pk):
        for attempt in range(1, 9):
            before = timezone.now()
            delivery.drain()
            row = Ledger.objects.get(person_id=cast.ada.pk, target=TARGET)
            assert row.attempts == attempt
            assert row.next_attempt_at is not None
            bound = min(
                settings.SYNC_BACKOFF_URGENT_CAP_SECONDS, settings.SYNC_BACKOFF_BASE_SECONDS * 2 ** (attempt - 1)
            )
            assert before <= row.next_attempt_at - dt.timedelta(seconds=bound / 2) <= timezone.now()
            Ledger.objects.update(next_attempt_at=before)
        # The avatar's third place cannot be read either, so `users` fails beside it.
        tries = Attempt.objects.filter(person_id=cast.ada.pk, target=TARGET).order_by("id")
        assert [a.attempt for a in tries] == list(range(1, 9))
        assert {a.outcome for a in tries} == {"55P03"}


def test_p7_edits_are_no_reason_to_wait_longer(cast: Cast, settings: Any) -> None:
    with fakes.locked_row(TARGET, cast.ada.pk):
        for edit in range(12):
            Enrollment.objects.filter(user=cast.ada).update(bio=f"edit {edit}")
            delivery.drain()
            row = Ledger.objects.get(person_id=cast.ada.pk, target=TARGET)
            assert row.next_attempt_at is not None
            assert row.next_attempt_at <= timezone.now() + dt.timedelta(seconds=settings.SYNC_BACKOFF_BASE_SECONDS)
            # A slow machine may come to that moment before the next edit.
            Ledger.objects.update(next_attempt_at=timezone.now() + dt.timedelta(hours=1))
        assert not Intervention.objects.exists()


def test_p7_a_blocked_row_waits_for_a_reason_to_try_again(cast: Cast) -> None:
    with fakes.refusing(TARGET, "bio <> 'refused'"):
        Enrollment.objects.filter(user=cast.ada).update(bio="refused")
        fakes.sweep()
        fakes.sweep()
        row = Ledger.objects.get(person_id=cast.ada.pk, target=TARGET)
        assert (row.attempts, row.next_attempt_at) == (1, None), "a refusal is not asked again for nothing"
        fakes.sql(f"ALTER TABLE {TARGET} ADD CONSTRAINT another CHECK (views >= 0) NOT VALID")
        try:
            fakes.sweep()
            row.refresh_from_db()
            assert row.attempts == 2, "another shape of the table is a reason"
        finally:
            fakes.sql(f"ALTER TABLE {TARGET} DROP CONSTRAINT another")


def test_p7_the_daily_audit_gives_blocked_rows_their_chance(cast: Cast) -> None:
    with fakes.refusing(TARGET, "bio <> 'refused'"):
        Enrollment.objects.filter(user=cast.ada).update(bio="refused")
        fakes.sweep()
        tasks.audit()
        fakes.settled()
        assert Attempt.objects.filter(person_id=cast.ada.pk, target=TARGET).count() >= 2


def test_p8_a_paused_target_is_left_alone(cast: Cast) -> None:
    Enrollment.objects.filter(user=cast.ada).update(bio="refused")
    with fakes.refusing(TARGET, "bio <> 'refused'"):
        fakes.settled()
    switches.pause(scope=Scope.TARGET, key=TARGET, by="user:7", note="", at=timezone.now())
    ledger.unblock(schema="", everything=True)
    delivery.drain()
    assert fakes.states(cast.ada.pk)[TARGET] == "parked"


def test_p1_the_audit_counts_without_owing_and_owes_on_demand(cast: Cast) -> None:
    before = Debt.objects.count()
    assert repair.audit(owe=False)[TARGET] == 2
    assert Debt.objects.count() == before
    assert repair.audit(owe=True)[TARGET] == 2
    fakes.settled()
    assert repair.audit(owe=False) == {"users": 0, "therapist_enrollments": 0, TARGET: 0, "unlinked": 0}


def test_p1_bring_in_line_mends_drift_of_one_person_at_once(cast: Cast) -> None:
    report = delivery.bring_in_line([cast.ben.pk])
    assert report.failed == 0
    assert Profile.objects.get(user=cast.ben).bio == Enrollment.objects.get(user=cast.ben).bio


def test_p9_records_are_kept_no_longer_than_agreed(cast: Cast, settings: Any) -> None:
    old = timezone.now() - dt.timedelta(days=settings.SYNC_ATTEMPTS_KEPT_DAYS + 1)
    for at in (old, timezone.now()):
        Attempt.objects.create(person_id=1, target=TARGET, at=at, outcome="settled", attempt=1, duration_ms=1)
        LostValue.objects.create(person_id=1, target=TARGET, at=at, values={}, written_by="x")
    drift.prune(at=timezone.now())
    assert (Attempt.objects.count(), LostValue.objects.count()) == (1, 1)


@pytest.fixture
def shouting(transactional_db: None) -> Iterator[None]:
    """Somebody's trigger changes what is written into a profile."""
    fakes.sql(
        "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.bio := upper(NEW.bio); RETURN NEW;"
        f" END $$; CREATE TRIGGER shout BEFORE UPDATE ON {TARGET} FOR EACH ROW EXECUTE FUNCTION shout()"
    )
    yield
    fakes.sql(f"DROP TRIGGER IF EXISTS shout ON {TARGET}; DROP FUNCTION shout()")


@pytest.fixture
def swallowing(transactional_db: None) -> Iterator[None]:
    """Somebody's trigger drops every update of a profile without a word."""
    fakes.sql(
        "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
        f" CREATE TRIGGER swallow BEFORE UPDATE ON {TARGET} FOR EACH ROW EXECUTE FUNCTION swallow()"
    )
    yield
    fakes.sql(f"DROP TRIGGER swallow ON {TARGET}; DROP FUNCTION swallow()")


class TestWrittenAndYetDifferent:
    @pytest.fixture(params=["shouting", "swallowing"], autouse=True)
    def _foreign(self, request: pytest.FixtureRequest) -> None:
        request.getfixturevalue(request.param)

    def test_p8_the_worker_reads_back_and_does_not_believe_itself(self, cast: Cast) -> None:
        Enrollment.objects.filter(user=cast.ada).update(bio="quiet")
        fakes.settled()
        assert Intervention.objects.get(person_id=cast.ada.pk).code == "KW001"
        assert fakes.states(cast.ada.pk)[TARGET] == "blocked"

    def test_p1_the_net_does_not_believe_itself_either(self, cast: Cast) -> None:
        triggers.enable()
        Enrollment.objects.filter(user=cast.ada).update(bio="quiet")
        assert fakes.silently_behind() == {(cast.ben.pk, TARGET)}
