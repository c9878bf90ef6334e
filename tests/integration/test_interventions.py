"""P7 and P8: no failure is forgotten, "resolved" is proven or signed, and history is final."""

import datetime as dt
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from interventions import items as items_of_engine
from interventions import operations
from interventions.models import History, Intervention, Resolution, State
from interventions.operations import Report, log_manual_intervention_needed
from sync import reconcile
from sync.models import Ledger
from tests import fakes
from tests.factories import Cast
from therapists.models import Enrollment, Profile, Status

TARGET = "therapist_profiles"
SECRET = "ada.quist@example.org says: refused"


@pytest.fixture
def refused(cast: Cast) -> Iterator[Cast]:
    """Ada's bio is refused by her profile, and an item is open."""
    with fakes.refusing(TARGET, "bio NOT LIKE '%refused%'"):
        Enrollment.objects.filter(user=cast.ada).update(bio=SECRET)
        fakes.settled()
        yield cast


def items(cast: Cast) -> QuerySet[Intervention]:
    return Intervention.objects.filter(person_id=cast.ada.pk, target=TARGET)


def resolve(cast: Cast, *, note: str = "", may_accept: bool = False) -> Report:
    return operations.mark_resolved(
        items=items(cast), by=f"user:{cast.sam.pk}", note=note, may_accept=may_accept, at=timezone.now()
    )


def retry(cast: Cast) -> Report:
    return operations.retry_items(items=items(cast), by=f"user:{cast.sam.pk}", at=timezone.now())


def history(item: Intervention) -> list[str]:
    return list(History.objects.of("intervention", str(item.pk)).values_list("action", flat=True))


@pytest.mark.parametrize("is_known", [False, True])
def test_settling_many_looks_each_up_by_its_key(db: None, is_known: bool) -> None:
    """Where the planner takes what is open for nothing, it compared every open item with every entity."""

    def opened() -> None:
        failures = [
            items_of_engine.Failure(
                person_id=n, target=TARGET, code="23514", failure_class="permanent", detail=TARGET, attempts=1
            )
            for n in range(300)
        ]
        items_of_engine.open_items(failures=failures, at=timezone.now())

    if is_known:  # as it was before a target broke: all resolved, and counted like that
        opened()
        a_month_ago = timezone.now() - dt.timedelta(days=30)
        Intervention.objects.update(
            resolved=True,
            state=State.RESOLVED,
            resolution=Resolution.AUTO,
            resolved_at=a_month_ago,
            resolved_by="system",
        )
        fakes.sql("ANALYZE manual_intervention_log")
    opened()
    reconcile.set_bounds(5000)  # as in a worker's batch
    with CaptureQueriesContext(connection) as captured:
        entities = dict.fromkeys((n, TARGET) for n in range(1000, 1300))
        items_of_engine.settle_items(entities=entities, resolution=Resolution.AUTO, at=timezone.now())
    (settle,) = (query["sql"] for query in captured if "live" in query["sql"])
    plan = "\n".join(line for (line,) in fakes.sql(f"EXPLAIN (ANALYZE) {settle.replace('%', '%%')}"))
    assert not re.search(r"Rows Removed by (Join )?Filter: \d{3,}", plan), plan


class TestAnItem:
    def test_p7_is_one_however_often_it_fails(self, refused: Cast) -> None:
        for bio in ("refused again", "refused once more"):
            Enrollment.objects.filter(user=refused.ada).update(bio=bio)
            fakes.settled()
        assert items(refused).count() == 1

    def test_p10_names_codes_and_never_values(self, refused: Cast) -> None:
        item = items(refused).get()
        assert item.payload == {"person_id": refused.ada.pk, "target": TARGET}
        assert item.entity_id == str(refused.ada.pk)
        told = " ".join(str(value) for value in (item.error, item.cause, item.code))
        told += str(list(History.objects.values())) + str(list(Ledger.objects.values()))
        assert "refused_on_purpose" in told
        assert SECRET not in told
        assert "example.org" not in told

    def test_p8_comes_back_as_itself_within_a_week(self, refused: Cast) -> None:
        Enrollment.objects.filter(user=refused.ada).update(bio="fine")
        fakes.settled()
        item = items(refused).get()
        assert item.resolution == Resolution.AUTO
        Enrollment.objects.filter(user=refused.ada).update(bio="refused again")
        fakes.settled()
        item.refresh_from_db()
        assert (item.state, item.resolved, item.resolved_at) == (State.REOPENED, False, None)
        assert history(item) == ["opened", "resolved:auto", "reopened"]

    def test_p8_is_a_new_one_after_a_week(self, refused: Cast) -> None:
        Enrollment.objects.filter(user=refused.ada).update(bio="fine")
        fakes.settled()
        items(refused).update(resolved_at=timezone.now() - dt.timedelta(days=8))
        Enrollment.objects.filter(user=refused.ada).update(bio="refused again")
        fakes.settled()
        assert sorted(items(refused).values_list("resolved", flat=True)) == [False, True]

    def test_p7_has_no_live_twin(self, refused: Cast) -> None:
        twin = items(refused).get()
        twin.pk = None
        with pytest.raises(IntegrityError):
            twin.save(force_insert=True)

    def test_p7_is_superseded_when_its_person_is_gone(self, refused: Cast) -> None:
        item = items(refused).get()
        refused.ada.delete()
        fakes.settled()
        item.refresh_from_db()
        assert item.resolution == Resolution.SUPERSEDED


class TestMarkResolved:
    def test_p8_refuses_a_difference(self, refused: Cast) -> None:
        report = resolve(refused, note="looks fine to me")
        assert (report.done, report.refused, report.accepted) == (0, 1, 0)
        assert "still differ" in report.problems[str(items(refused).get().pk)]
        assert not items(refused).get().resolved

    def test_p8_refuses_to_accept_a_difference_without_a_note(self, refused: Cast) -> None:
        assert resolve(refused, note="  ", may_accept=True).refused == 1
        assert not items(refused).get().resolved

    def test_p8_refuses_what_cannot_be_read(self, refused: Cast) -> None:
        with fakes.renamed(TARGET, "bio"):
            assert resolve(refused).refused == 1

    def test_p8_is_verified_when_both_sides_were_read_back_and_are_equal(self, refused: Cast) -> None:
        with fakes.asleep():
            Enrollment.objects.filter(user=refused.ada).update(bio="fine")
            Profile.objects.filter(user=refused.ada).update(bio="fine")
        assert resolve(refused).done == 1
        item = items(refused).get()
        assert (item.resolution, item.resolved_by) == (Resolution.VERIFIED, f"user:{refused.sam.pk}")
        assert item.compared
        assert resolve(refused).already == 1

    def test_p8_an_accepted_difference_stays_and_is_not_tried_again(self, refused: Cast) -> None:
        assert resolve(refused, note="They asked for it.", may_accept=True).accepted == 1
        fakes.sweep()
        fakes.settled()
        item = items(refused).get()
        assert (item.resolution, item.resolution_notes) == (Resolution.ACCEPTED, "They asked for it.")
        assert fakes.states(refused.ada.pk)[TARGET] == "excluded"

    @pytest.mark.parametrize("side", ["therapist_enrollments", TARGET])
    def test_p8_an_accepted_difference_reopens_when_either_side_changes(self, refused: Cast, side: str) -> None:
        resolve(refused, note="They asked for it.", may_accept=True)
        changed = "refused in other words" if side == "therapist_enrollments" else "something else"
        fakes.sql(f"UPDATE {side} SET bio = %s WHERE user_id = %s", changed, refused.ada.pk)
        fakes.settled()
        item = items(refused).get()
        assert (item.state, item.resolved) == (State.REOPENED, False)
        assert history(item)[-1] == "reopened"

    def test_p8_another_facts_change_elsewhere_leaves_an_accepted_difference_alone(self, refused: Cast) -> None:
        resolve(refused, note="They asked for it.", may_accept=True)
        fakes.sql("UPDATE users SET full_name = 'Ada Q.' WHERE id = %s", refused.ada.pk)
        fakes.settled()
        assert items(refused).get().resolution == Resolution.ACCEPTED

    def test_p8_an_edit_of_another_fact_copies_that_fact_and_not_the_accepted_one(self, refused: Cast) -> None:
        before = Profile.objects.get(user=refused.ada).bio
        resolve(refused, note="They asked for it.", may_accept=True)
        # Nothing but the decision stands in the way any more.
        fakes.sql(
            f"ALTER TABLE {TARGET} DROP CONSTRAINT refused_on_purpose, ADD CONSTRAINT refused_on_purpose CHECK (true)"
        )
        Enrollment.objects.filter(user=refused.ada).update(phone="7", specialization="CBT; DBT")
        Profile.objects.filter(user=refused.ada).update(views=3)
        row = Profile.objects.get(user=refused.ada)
        assert (row.bio, row.phone, row.specialization) == (before, "7", ["CBT", "DBT"])
        fakes.settled()
        assert Profile.objects.get(user=refused.ada).bio == before
        assert items(refused).get().resolution == Resolution.ACCEPTED
        Profile.objects.filter(user=refused.ada).update(phone="7")
        assert fakes.sql("SELECT FROM sync_lost_value") == []


class TestRetry:
    def test_p7_keeps_the_item_open_when_the_target_fails_again(self, refused: Cast) -> None:
        assert retry(refused).done == 1
        assert items(refused).get().state == State.RETRYING
        assert retry(refused).already == 1
        fakes.settled()
        item = items(refused).get()
        assert (item.state, item.retry_until) == (State.OPEN, None)
        assert history(item) == ["opened", "retry", "retry_failed"]

    def test_p7_resolves_the_item_when_the_target_is_mended(self, refused: Cast) -> None:
        fakes.sql(f"ALTER TABLE {TARGET} DROP CONSTRAINT refused_on_purpose")
        try:
            retry(refused)
            fakes.settled()
        finally:
            fakes.sql(f"ALTER TABLE {TARGET} ADD CONSTRAINT refused_on_purpose CHECK (true)")
        item = items(refused).get()
        assert (item.resolution, item.attempt_id is not None) == (Resolution.AUTO, True)
        assert Profile.objects.get(user=refused.ada).bio == SECRET

    def test_p7_lapses_when_no_verdict_comes(self, refused: Cast, settings: Any) -> None:
        retry(refused)
        late = timezone.now() + dt.timedelta(seconds=settings.SYNC_LEASE_SECONDS + 1)
        assert operations.lapse_retries(at=late) == 1
        item = items(refused).get()
        assert (item.state, history(item)[-1]) == (State.OPEN, "retry_lost")


class TestHistory:
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE intervention_history SET actor = 'nobody'",
            "DELETE FROM intervention_history",
            "TRUNCATE intervention_history",
        ],
    )
    def test_p7_refuses_to_be_changed(self, refused: Cast, statement: str) -> None:
        before = list(History.objects.values())
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            fakes.sql(statement)
        assert list(History.objects.values()) == before

    def test_p7_tells_who_resolved_past_us(self, refused: Cast) -> None:
        fakes.sql("UPDATE manual_intervention_log SET resolved = true WHERE person_id = %s", refused.ada.pk)
        item = items(refused).get()
        assert (item.state, item.resolution, item.resolved_by) == (State.RESOLVED, Resolution.ACCEPTED, "sql:keepwell")
        assert history(item) == ["opened", "accepted:sql"]


class TestLogging:
    def test_p7_writes_what_needs_a_person_once(self, transactional_db: None) -> None:
        for _ in range(2):
            assert log_manual_intervention_needed(
                operation="approve", entity_id="7", error="no profile", payload={"a": 1}
            )
        assert Intervention.objects.get().payload == {"a": 1}

    def test_p7_never_raises_when_the_same_was_logged_twice_without_an_entity(self, transactional_db: None) -> None:
        for _ in range(2):
            Intervention.objects.create(operation="approve", error="x")
        log_manual_intervention_needed(operation="approve", error="x")

    def test_p7_a_failed_log_does_not_break_the_callers_transaction(self, cast: Cast) -> None:
        with transaction.atomic():
            Enrollment.objects.filter(user=cast.ada).update(status=Status.REJECTED)
            with fakes.refusing("manual_intervention_log", "operation <> 'approve'"):
                assert log_manual_intervention_needed(operation="approve", error="no profile")
        assert Enrollment.objects.get(user=cast.ada).status == Status.REJECTED
