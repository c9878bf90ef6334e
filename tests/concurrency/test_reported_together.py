"""P9: who reports the same at the same moment opens one item, and holds nobody up."""

import json
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connections, transaction
from django.utils import timezone

from interventions import items, spool
from interventions.entries import entry
from interventions.models import History, Intervention
from interventions.operations import log_manual_intervention_needed, log_manual_interventions_needed
from tests import fakes
from therapists.models import User

Open = Callable[..., fakes.Connection]
pytestmark = pytest.mark.usefixtures("transactional_db")
CALLERS, ROUNDS, BATCHES, ENTITIES = 8, 40, 5, 300
# What a caller waits for others, and what a call may take then.
PATIENCE, AT_ONCE_MS, OF_A_BATCH_MS = "50 ms", 100, 400
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
def patient() -> Iterator[None]:
    """Let callers wait until the others are done: a machine may stop one of them for longer than a caller waits."""
    [(as_declared,)] = fakes.sql("SELECT pg_get_functiondef('intervention_report(jsonb)'::regprocedure)")
    assert PATIENCE in as_declared
    fakes.sql(as_declared.replace(PATIENCE, "30 s").replace("%", "%%"))
    yield
    fakes.sql(as_declared.replace("%", "%%"))


def report(entity: object) -> None:
    assert log_manual_intervention_needed(operation="import", entity_id=entity, error="no profile")


def together(call: Callable[[int], object], *, rounds: int) -> None:
    """Let callers with connections of their own do the same at the same moment, again and again; raises what they do."""
    start, troubles = threading.Barrier(CALLERS, timeout=30), list[BaseException]()

    def caller() -> None:
        try:
            for number in range(rounds):
                start.wait()
                call(number)
        except BaseException as trouble:  # noqa: BLE001 - told by the thread that waits for this one
            troubles.append(trouble)
            start.abort()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=caller) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []


def waits(watcher: fakes.Connection) -> bool:
    """Tell whether somebody waits for a lock; asked from outside, for a transaction keeps its first answer."""
    return watcher.execute(WAITS).fetchone() != (0,)


def opened() -> int:
    return History.objects.filter(action="opened").count()


def test_p9_callers_who_report_the_same_at_once_open_one_item(patient: None) -> None:
    together(report, rounds=ROUNDS)
    assert (Intervention.objects.count(), opened()) == (ROUNDS, ROUNDS)


def test_p9_callers_who_hand_over_the_same_in_any_order_open_one_item_each(patient: None) -> None:
    def hand_over(number: int) -> None:
        given = [(f"{number} {entity}", "no profile") for entity in range(ENTITIES)]
        random.shuffle(given)
        assert log_manual_interventions_needed(operation="import", failures=given)

    together(hand_over, rounds=BATCHES)
    assert (Intervention.objects.count(), opened()) == (BATCHES * ENTITIES, BATCHES * ENTITIES)
    assert spool.standing().waiting == 0


@contextmanager
def reported_and_not_committed(entities: Iterable[object]) -> Iterator[fakes.Connection]:
    """Give a connection in whose open transaction the entities were reported."""
    told = json.dumps([vars(entry(operation="import", entity_id=one, error="", payload=None, at=timezone.now()))
                       for one in entities])  # fmt: skip
    with psycopg.connect(fakes.database_url()) as caller:
        caller.execute("SELECT intervention_report(%s::jsonb)", [told])
        yield caller


def test_p3_a_long_transaction_that_reported_holds_no_other_caller_up() -> None:
    given = [(entity, "no profile") for entity in range(ENTITIES)]

    def hand_over() -> None:
        assert log_manual_interventions_needed(operation="import", failures=given)

    with reported_and_not_committed(range(ENTITIES)):
        # The quickest of some: bounded is the wait for others, not what a busy machine adds to it.
        assert min(fakes.milliseconds(lambda: report(1)) for _ in range(5)) < AT_ONCE_MS
        assert min(fakes.milliseconds(hand_over) for _ in range(5)) < AT_ONCE_MS + OF_A_BATCH_MS
    assert Intervention.objects.filter(entity_id="1").count() == 2, "a second item rather than a long wait"
    assert spool.standing().waiting == 0


def test_p3_who_reported_and_waits_for_a_row_is_no_victim_of_who_reports_the_same(
    ada: User, second_connection: Open
) -> None:
    with reported_and_not_committed([1]) as caller, ThreadPoolExecutor(1) as pool:
        caller.execute("SET LOCAL deadlock_timeout = '300 ms'")
        watcher = second_connection()
        with transaction.atomic():
            User.objects.filter(pk=ada.pk).update(full_name="Held")
            waiting = pool.submit(caller.execute, "UPDATE users SET full_name = 'Waited' WHERE id = %s", [ada.pk])
            fakes.wait_until(lambda: waits(watcher), what="the caller waits for the row")
            until = time.monotonic() + 1
            while time.monotonic() < until:  # the caller looks for a deadlock meanwhile
                report(1)
            assert waits(watcher)
        assert waiting.result(30).rowcount == 1
    assert User.objects.get(pk=ada.pk).full_name == "Waited"


def test_p7_who_opens_an_item_beside_somebody_writes_no_second_line_of_history(second_connection: Open) -> None:
    watcher = second_connection()
    failure = items.Failure(
        target="therapist_profiles",
        code="23514",
        failure_class="refused",
        detail="bio_is_short",
        attempts=1,
        person_id=1,
    )

    def open_too() -> None:
        try:
            items.open_items(failures=[failure], at=timezone.now())
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            items.open_items(failures=[failure], at=timezone.now())
            other = pool.submit(open_too)
            fakes.wait_until(lambda: waits(watcher), what="the other waits for the item")
        other.result(30)
    assert (Intervention.objects.count(), opened()) == (1, 1)
