"""P7, P8: what workers find or mend while somebody of the staff decides about it is answered once, and overrules nobody."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest
from django.db import connections, transaction
from django.utils import timezone

from interventions import failpoints, items, operations, spool
from interventions.models import History, Intervention, State
from sync import delivery
from tests import fakes
from tests.factories import Trouble, trouble

pytestmark = pytest.mark.usefixtures("transactional_db")
SAM, LENA = "user:7", "user:8"
WAITS = f"{fakes.OTHERS} AND wait_event_type = 'Lock'"


def alone(act: Callable[[], object]) -> object:
    """Act on a connection of one's own."""
    try:
        return act()
    finally:
        connections.close_all()


@contextmanager
def committed_before(act: Callable[[], object]) -> Iterator[None]:
    """Begin to act when the block is done and not committed yet; commit it once the other waits, or needs not wait."""
    with ThreadPoolExecutor(1) as pool, psycopg.connect(fakes.database_url(), autocommit=True) as watcher:
        with transaction.atomic():
            yield
            other = pool.submit(alone, act)
            fakes.wait_until(lambda: watcher.execute(WAITS).fetchone() or other.done(), what="the other waits")
        other.result(30)


def fail() -> None:
    failure = items.Failure(
        target="therapist_profiles", code="23514", failure_class="refused", detail="check", attempts=1, person_id=1
    )
    items.open_items(failures=[failure], at=timezone.now())


@pytest.fixture
def refused() -> Iterator[Trouble]:
    """One person whose profile refuses their edit."""
    with trouble(1) as made:
        yield made


def asked(by: str = SAM) -> Intervention:
    """Retry the only item, as staff do."""
    operations.retry_items(items=Intervention.objects.all(), by=by, at=timezone.now())
    return Intervention.objects.get()


def actions() -> list[str]:
    return list(History.objects.filter(object_type="intervention").order_by("id").values_list("action", flat=True))


@pytest.mark.parametrize("is_asked_meanwhile", [True, False])
def test_p7_a_retry_is_answered_once_also_by_who_came_beside_it(is_asked_meanwhile: bool) -> None:
    fail()
    ask = partial(operations.ask_again, items=[Intervention.objects.get()], by=SAM, at=timezone.now())
    if not is_asked_meanwhile:
        ask()
    with committed_before(fail):
        ask() if is_asked_meanwhile else fail()
    assert Intervention.objects.get().state == State.OPEN
    assert actions() == ["opened", "retry", "retry_failed"]


def test_p8_what_fails_beside_a_decision_reopens_the_item_and_opens_no_second_one() -> None:
    fail()
    with committed_before(fail):
        Intervention.objects.update(resolved=True, state="resolved", resolution="verified", resolved_at=timezone.now())
    assert [item.state for item in Intervention.objects.all()] == [State.REOPENED]
    assert actions() == ["opened", "reopened"]


def test_p7_what_fails_while_somebody_decides_is_tried_again_and_waits_in_no_spool(refused: Trouble) -> None:
    item = asked()
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        Intervention.objects.select_for_update().get(pk=item.pk)
        pool.submit(alone, delivery.drain).result(30)
    assert spool.standing().waiting == 0
    delivery.drain()
    assert actions() == ["opened", "retry", "retry_failed"]


def test_p8_no_difference_is_accepted_while_a_worker_mends_it(refused: Trouble, tmp_path: Path) -> None:
    refused.lift()
    item, orders = asked(), tmp_path / "failpoints.json"
    orders.write_text('{"sync.before_write": "hang:0.3"}')
    failpoints.allow(orders)
    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(alone, delivery.drain)
        fakes.wait_until(lambda: failpoints.fired(orders), what="the worker has seen the difference")
        told = operations.mark_resolved(
            items=Intervention.objects.filter(pk=item.pk), by=LENA, note="Seen.", may_accept=True, at=timezone.now()
        )
        worker.result(30)
    failpoints.allow(None)
    assert (told.accepted, told.already, [one.resolution for one in told.before]) == (0, 1, ["auto"])
