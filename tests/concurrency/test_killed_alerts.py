"""A process that dies while it tells staff, or while they decide: nothing is lost; what may come twice is only what was being sent."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from interventions import alerts, causes, deliveries, items
from interventions.models import Alert, AlertDelivery, AlertState, Cause, History, Intervention
from tests import channels as servers
from tests import fakes
from tests.channels import Board
from tests.victims import Victims


@pytest.fixture
def board(settings: Any, transactional_db: None) -> Iterator[Board]:
    failure = items.Failure(target="users", code="23514", failure_class="refused", detail="c", attempts=1, person_id=1)
    items.open_items(failures=[failure], at=timezone.now())
    causes.follow(at=timezone.now())
    with servers.http_board() as board:
        settings.ALERT_URLS_STAFF = [board.url]
        yield board


@pytest.mark.parametrize(
    ("point", "left", "taken"),
    [
        ("interventions.alert.before_commit", [], 1),
        ("interventions.alert.after_commit", [(AlertState.WAITING, 0, "")], 1),
        ("interventions.delivery.before_send", [(AlertState.WAITING, 1, "unanswered")], 1),
        ("interventions.delivery.after_send", [(AlertState.WAITING, 1, "unanswered")], 2),
    ],
)
def test_p7_whoever_dies_while_they_tell_staff_leaves_it_to_be_told(
    point: str, left: list[tuple[str, int, str]], taken: int, board: Board, victims: Victims
) -> None:
    assert victims.run("alert", orders={point: "kill"}, url=board.url) == -9
    fakes.wait_until(lambda: not fakes.sql(fakes.OTHERS), what="PostgreSQL has noticed the death")
    assert list(AlertDelivery.objects.values_list("state", "attempts", "trouble")) == left
    alerts.look(at=timezone.now())
    if left and left[0][1]:
        assert deliveries.send_due() == 0, "The lease of the dead is not over."
        AlertDelivery.objects.update(lease_until=Now() - dt.timedelta(seconds=1), next_attempt_at=Now())
    assert deliveries.send_due() == 1
    assert (len(board.taken), Alert.objects.count(), AlertDelivery.objects.get().state) == (taken, 1, AlertState.SENT)


def noted(action: str) -> int:
    return History.objects.filter(action=action).count()


@pytest.mark.parametrize(("point", "done"), [("before_commit", 0), ("after_commit", 1)])
def test_p7_whoever_dies_over_a_cause_has_done_all_of_it_or_nothing_and_the_next_does_it_once(
    point: str, done: int, transactional_db: None, victims: Victims
) -> None:
    failure = items.Failure(target="users", code="23514", failure_class="refused", detail="c", attempts=1, person_id=1)
    items.open_items(failures=[failure], at=timezone.now())
    assert victims.run("follow", orders={f"interventions.follow.{point}": "kill"}) == -9
    fakes.wait_until(lambda: not fakes.sql(fakes.OTHERS), what="PostgreSQL has noticed the death")
    assert (Cause.objects.count(), noted("cause_opened")) == (done, done)
    causes.follow(at=timezone.now())
    assert (Cause.objects.get().state, noted("cause_opened")) == ("open", 1)
    decided: list[tuple[str, str, Callable[[], str | None]]] = [
        ("acknowledge", "cause_acknowledged", lambda: Cause.objects.get().owner),
        ("assign", "assigned", lambda: Intervention.objects.get().assignee),
    ]
    for work, action, owner in decided:
        assert victims.run(work, orders={f"interventions.decision.{point}": "kill"}) == -9
        fakes.wait_until(lambda: not fakes.sql(fakes.OTHERS), what="PostgreSQL has noticed the death")
        assert (owner(), noted(action)) == ((None, "user:1")[done], done)
        # Somebody who does not know of the death: it is done now, or they are told that it is.
        assert victims.run(work, orders={}) == done
        assert (owner(), noted(action)) == ("user:1", 1)
