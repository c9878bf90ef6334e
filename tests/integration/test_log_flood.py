"""P9: ten thousand failures of one cause are ten thousand items and one cause; how fast, `make bench-log` says."""

import time

import pytest
from django.utils import timezone

from interventions import intake, items, queries
from interventions.models import History, Intervention, Resolution
from interventions.operations import log_manual_intervention_needed
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
    assert [(cause.code, cause.items) for cause in queries.causes(5)] == [("23514", MANY)]
    assert History.objects.filter(action="opened").count() == MANY
    entities = dict.fromkeys((person, TARGET) for person in range(BATCH))
    assert items.settle_items(entities=entities, resolution=Resolution.AUTO, at=timezone.now()) == BATCH
    items.open_items(failures=failures(0, BATCH), at=timezone.now())
    assert Intervention.objects.filter(state="reopened").count() == BATCH
    assert [(cause.code, cause.items) for cause in queries.causes(5)] == [("23514", MANY)]
    assert time.monotonic() - started < SECONDS


def test_p9_failures_that_callers_report_are_one_cause_whatever_the_person(transactional_db: None) -> None:
    for number in range(CALLED):
        assert log_manual_intervention_needed(operation="import", entity_id=number, error=f"no profile for {number}")
    assert [cause.items for cause in queries.causes(5)] == [CALLED]
    assert History.objects.filter(action="opened").count() == CALLED


def test_p9_and_so_are_those_that_waited_in_the_spool(transactional_db: None) -> None:
    with fakes.refusing("manual_intervention_log", "operation <> 'import'"):
        for number in range(CALLED):
            assert log_manual_intervention_needed(operation="import", entity_id=number, error=ValueError(number))
    assert intake.take_in().taken == CALLED
    assert [(cause.code, cause.items) for cause in queries.causes(5)] == [("ValueError", CALLED)]
