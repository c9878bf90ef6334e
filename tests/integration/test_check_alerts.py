"""`check_interventions` says what alerts alone would not: that nobody is told, or that nobody looks."""

import datetime as dt
import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from interventions import alerts
from interventions.models import AlertDelivery, AlertState, AlertWatch
from sync.models import Debt
from tests import fakes
from tests.factories import Cast

pytestmark = pytest.mark.usefixtures("transactional_db")


def checked() -> tuple[int, str, dict[str, Any]]:
    """Run it; give the exit code, what it complains of, and its JSON."""
    out = StringIO()
    try:
        call_command("check_interventions", "--json", stdout=out)
    except CommandError as error:
        return error.returncode, str(error), json.loads(out.getvalue() or "{}")
    return 0, "", json.loads(out.getvalue())


def delivery(**words: object) -> None:
    at = timezone.now()
    given = {"kind": "test", "channel": "json-1", "made_at": at, "next_attempt_at": at} | words
    AlertDelivery.objects.create(**given)


def test_is_green_where_everything_was_delivered_and_somebody_looks() -> None:
    alerts.look(at=timezone.now())
    delivery()
    delivery(state=AlertState.SENT, sent_at=timezone.now())
    code, _, said = checked()
    assert (code, said["oldest_seconds"]) == (0, None)
    assert said["alerts"] == {
        "undelivered": 0,
        "looked_seconds_ago": said["alerts"]["looked_seconds_ago"],
        "behind": [],
    }


@pytest.mark.parametrize("words", [{"trouble": "http_503"}, {"state": AlertState.UNDELIVERED, "trouble": "no_channel"}])
def test_p7_is_red_while_a_message_could_not_be_delivered(words: dict[str, object]) -> None:
    delivery(attempts=1, **words)
    code, complaint, said = checked()
    assert (code, complaint) == (1, "1 message to staff could not be delivered.")
    assert said["alerts"] == {"undelivered": 1, "looked_seconds_ago": None, "behind": []}


def test_p7_is_red_when_nobody_looks_any_more() -> None:
    AlertWatch.objects.create(looked_at=timezone.now() - dt.timedelta(minutes=9))
    assert checked()[0] == 0
    AlertWatch.objects.update(looked_at=timezone.now() - dt.timedelta(minutes=11))
    code, complaint, _ = checked()
    assert (code, complaint) == (1, "For 11 minutes nobody has looked whom to tell: no worker runs, or no beat.")


def test_p7_is_red_by_the_age_of_what_is_owed_and_nobody_was_told_of(cast: Cast) -> None:
    Debt.objects.all().delete()
    at = timezone.now() - dt.timedelta(hours=2)
    Debt.objects.create(person_id=cast.ada.pk, targets=["users"], revision=1, at=at)
    code, complaint, said = checked()
    assert (code, "users is owed changes that nobody makes" in complaint, "For 2 hours." in complaint) == (
        1,
        True,
        True,
    )
    (behind,) = said["alerts"]["behind"]
    assert (behind["name"], behind["people"], behind["seconds"] >= 7200) == ("owed:users", 1, True)


def test_p7_does_not_know_when_it_cannot_read_what_was_told() -> None:
    with fakes.renamed("intervention_alert_delivery", "state"):
        assert checked()[0] == 2
    with fakes.renamed("sync_debt", "at"):
        assert checked()[0] == 2
