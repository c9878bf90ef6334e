"""P9: ten thousand failures of one cause are ten thousand items and one cause; how fast, `make bench-log` says."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from interventions import causes, intake, items, spool
from interventions.models import History, Intervention, Resolution
from interventions.operations import (
    MOST_TOGETHER,
    log_manual_intervention_needed,
    log_manual_interventions_needed,
)
from tests import fakes

TARGET, MANY, CALLED, BATCH = "therapist_profiles", 10_000, 300, 500
# Far above what a busy machine needs: it is to notice work that grows with what is open already.
SECONDS = 40


def failures(first: int, end: int) -> list[items.Failure]:
    return [
        items.Failure(
            target=TARGET, code="23514", failure_class="refused", detail="bio_is_short", attempts=1, person_id=person
        )
        for person in range(first, end)
    ]


@pytest.mark.slow
def test_p9_ten_thousand_failures_are_one_cause_and_each_an_item(transactional_db: None) -> None:
    started = time.monotonic()
    for first in range(0, MANY, BATCH):
        items.open_items(failures=failures(first, first + BATCH), at=timezone.now())
    assert [(cause.code, cause.items) for cause in causes.standing(at=timezone.now(), limit=5)] == [("23514", MANY)]
    assert History.objects.filter(action="opened").count() == MANY
    entities = dict.fromkeys((person, TARGET) for person in range(BATCH))
    assert items.settle_items(entities=entities, resolution=Resolution.AUTO, at=timezone.now()) == BATCH
    items.open_items(failures=failures(0, BATCH), at=timezone.now())
    assert Intervention.objects.filter(state="reopened").count() == BATCH
    assert [(cause.code, cause.items) for cause in causes.standing(at=timezone.now(), limit=5)] == [("23514", MANY)]
    assert time.monotonic() - started < SECONDS


def test_p9_opening_reads_no_more_of_the_log_where_much_is_open(transactional_db: None) -> None:
    items.open_items(failures=failures(0, 2000), at=timezone.now())
    fakes.sql("ANALYZE manual_intervention_log")
    said = ""

    def explained(execute: Callable[..., Any], sql: str, words: Any, many: bool, context: Any) -> Any:
        nonlocal said
        if "manual_intervention_log" not in sql:
            return execute(sql, words, many, context)
        result = execute(f"EXPLAIN ANALYZE {sql}", words, many, context)
        said += "\n".join(line for (line,) in context["cursor"].fetchall())
        return result

    with connection.execute_wrapper(explained):
        items.open_items(failures=failures(1998, 2001), at=timezone.now())
    assert Intervention.objects.count() == 2001
    assert "manual_intervention_log" in said
    assert sum(map(int, re.findall(r"Rows Removed by Filter: (\d+)", said))) < 100, said


def test_p9_failures_that_callers_report_are_one_cause_whatever_the_person(transactional_db: None) -> None:
    for number in range(CALLED):
        assert log_manual_intervention_needed(operation="import", entity_id=number, error=f"no profile for {number}")
    assert [cause.items for cause in causes.standing(at=timezone.now(), limit=5)] == [CALLED]
    assert History.objects.filter(action="opened").count() == CALLED


def test_p9_a_report_reads_no_more_of_the_log_where_much_is_open(transactional_db: None) -> None:
    read = "SELECT coalesce(sum(seq_tup_read), 0)::int FROM pg_stat_xact_user_tables WHERE relname = %s"
    fakes.sql("ANALYZE manual_intervention_log")
    for number in range(10):  # from then on the session keeps the plan
        assert log_manual_intervention_needed(operation="import", entity_id=number, error="no profile")
    fakes.sql(
        "INSERT INTO manual_intervention_log (operation, entity_id, error)"
        " SELECT 'import', n::text, 'no profile' FROM generate_series(100, 2099) AS n"
    )
    with transaction.atomic():
        # What the session read before and has not told the statistics yet is counted, too.
        before = fakes.sql(read, "manual_intervention_log")[0][0]
        assert log_manual_intervention_needed(operation="import", entity_id="last", error="no profile")
        assert fakes.sql(read, "manual_intervention_log")[0][0] - before < 100


def test_p9_many_failures_handed_over_at_once_share_their_commits(transactional_db: None) -> None:
    given = [(number, f"no profile for {number}") for number in range(2 * MOST_TOGETHER + 1)]
    assert log_manual_interventions_needed(operation="import", failures=given)
    assert [cause.items for cause in causes.standing(at=timezone.now(), limit=5)] == [len(given)]
    assert set(Intervention.objects.values_list("entity_id", flat=True)) == {str(number) for number, _ in given}
    assert History.objects.filter(action="opened").values("at").distinct().count() == 3
    assert log_manual_interventions_needed(operation="import", failures=given), "again is the same as once"
    assert Intervention.objects.count() == len(given)


def test_p7_many_of_which_one_is_refused_are_all_noted(transactional_db: None, spool_dir: Path) -> None:
    with fakes.refusing("manual_intervention_log", "entity_id <> '7'"):
        assert log_manual_interventions_needed(operation="import", failures=[(n, ValueError(n)) for n in range(20)])
        assert (Intervention.objects.count(), len(list(spool_dir.iterdir()))) == (0, 1)
        assert (intake.take_in().refused, Intervention.objects.count()) == (1, 19)
    assert intake.take_in().taken == 20
    assert Intervention.objects.count() == 20


def test_p7_many_are_not_noted_where_the_spool_has_no_room(transactional_db: None, settings: Any) -> None:
    settings.SYNC_SPOOL_MOST = MOST_TOGETHER
    given = [(number, "no profile") for number in range(MOST_TOGETHER + 1)]
    with fakes.refusing("manual_intervention_log", "operation <> 'import'"):
        assert not log_manual_interventions_needed(operation="import", failures=given)
    assert spool.standing().waiting == MOST_TOGETHER


def test_p9_and_so_are_those_that_waited_in_the_spool(transactional_db: None) -> None:
    with fakes.refusing("manual_intervention_log", "operation <> 'import'"):
        for number in range(CALLED):
            assert log_manual_intervention_needed(operation="import", entity_id=number, error=ValueError(number))
    assert intake.take_in().taken == CALLED
    assert [(cause.code, cause.items) for cause in causes.standing(at=timezone.now(), limit=5)] == [
        ("ValueError", CALLED)
    ]
