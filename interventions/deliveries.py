"""Messages that wait, sent one after the other: claimed and committed, sent outside any transaction, settled by the claim."""

import datetime as dt
import logging
import random
import time
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from interventions import channels, ladder, messages
from interventions.channels import NotTaken
from interventions.correlation import request_id
from interventions.failpoints import reach
from interventions.models import AlertDelivery, AlertState, History

logger = logging.getLogger(__name__)

# Several times what a send may take: who still has a lease that old is gone.
LEASE = dt.timedelta(seconds=120)
# One run of a worker begins no message after that: the next run goes on.
RUN_SECONDS = 30
# A channel that did not take one message is given no other for so long at most: what is urgent must not wait for as long as
# what has been refused all night.
REST = dt.timedelta(minutes=2)
GIVEN_UP_AFTER = dt.timedelta(hours=48)
NO_CHANNEL, TEST = "no_channel", messages.TEST
# Pushed ahead before it is tried: what takes workers down comes back later each time. The lease goes by the server's
# clock alone. One message at a time, so that channels that hang hold one worker at most, and what is urgent first.
# Materialized: a plan that ran the search again for each row would claim more messages than it tells.
_CLAIM = """
WITH due AS MATERIALIZED (
    SELECT id FROM intervention_alert_delivery
    WHERE state = 'waiting' AND next_attempt_at <= %(at)s AND id = coalesce(%(id)s, id)
      AND (lease_until IS NULL OR lease_until <= clock_timestamp())
      AND (%(id)s IS NOT NULL OR NOT EXISTS (
          SELECT FROM intervention_alert_delivery WHERE state = 'waiting' AND lease_until > clock_timestamp()))
    ORDER BY attempts, (SELECT level FROM intervention_alert AS told WHERE told.id = alert_id) DESC NULLS LAST,
             next_attempt_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
UPDATE intervention_alert_delivery AS claimed
SET lease_until = clock_timestamp() + %(lease)s, attempts = claimed.attempts + 1, trouble = 'unanswered',
    next_attempt_at = %(at)s + %(lease)s * power(2, least(claimed.attempts, 5))
FROM due WHERE claimed.id = due.id
RETURNING claimed.id, claimed.attempts
"""
_SETTLE = """
UPDATE intervention_alert_delivery
SET state = %(state)s, sent_at = CASE WHEN %(state)s = 'sent' THEN %(at)s::timestamptz END, trouble = %(trouble)s,
    next_attempt_at = %(next)s, lease_until = NULL
WHERE id = %(id)s AND attempts = %(fence)s AND state = 'waiting'
"""


@dataclass(frozen=True)
class Claim:
    """One message that this process alone may send; `fence` tells a later claim from this one."""

    id: int
    fence: int


def send_due(*, seconds: float = RUN_SECONDS) -> int:
    """Send what waits, a message at a time, for about so long; gives how many were tried."""
    until, number = time.monotonic() + seconds, 0
    _give_up(at=timezone.now())
    while time.monotonic() < until and (claim := claim_next(at=timezone.now())) is not None:
        send(claim)
        number += 1
    return number


def put_tests(*, by: str, at: dt.datetime) -> list[AlertDelivery]:
    """Put a test alert to every channel, to be sent like any other, with its line of history; gives them."""
    made = [AlertDelivery(kind=TEST, channel=name, made_at=at, next_attempt_at=at) for name in sorted(channels.every())]
    with transaction.atomic():
        History.objects.create(
            actor=by, action="alerts_tested", object_type="alerts", object_id="", request_id=request_id.get()
        )
        return AlertDelivery.objects.bulk_create(made)


def claim_next(*, at: dt.datetime, only: int | None = None) -> Claim | None:
    """Claim a message that is due, or the one named; None: there is none, or another is being sent at this moment."""
    with connection.cursor() as cursor:
        words: dict[str, Any] = {"at": at, "lease": LEASE, "id": only}
        cursor.execute(_CLAIM, words)
        row = cursor.fetchone()
    return Claim(*row) if row else None


def send(claim: Claim) -> bool:
    """
    Send what was claimed and note what came of it; gives whether the channel took it.

    Who dies between the two leaves it to be sent again once the lease is over: at least once, and never lost.
    """
    delivery = AlertDelivery.objects.select_related("alert", "digest").get(pk=claim.id)
    channel = channels.every().get(delivery.channel)
    if channel is None:
        _fail(delivery, claim, NO_CHANNEL, timezone.now())
        return False
    reach("interventions.delivery.before_send")
    try:
        channels.send(channel, messages.compose(delivery))
    except NotTaken as error:
        trouble = error.code
    else:
        trouble = ""
    reach("interventions.delivery.after_send")
    at = timezone.now()
    if trouble:
        _fail(delivery, claim, trouble, at)
    else:
        _settle(claim, AlertState.SENT, "", at, at)
    return not trouble


def _fail(delivery: AlertDelivery, claim: Claim, code: str, at: dt.datetime) -> None:
    """Plan the next try of it, and leave the whole channel alone for a while; what goes nowhere is given up."""
    logger.warning("interventions.alert.not_taken", extra={"channel": delivery.channel, "code": code})
    if code == NO_CHANNEL:
        _settle(claim, AlertState.UNDELIVERED, code, at, at)
        return
    again = at + ladder.again_after(claim.fence, random.random())  # noqa: S311 - no secret depends on it
    if _settle(claim, AlertState.WAITING, code, at, again):
        waiting = AlertDelivery.objects.filter(channel=delivery.channel, state=AlertState.WAITING, lease_until=None)
        rest = min(again, at + REST)
        waiting.filter(next_attempt_at__lt=rest).update(next_attempt_at=rest)


def _give_up(*, at: dt.datetime) -> None:
    """Call undelivered what has waited for too long, whatever became of its tries."""
    AlertDelivery.objects.filter(
        Q(lease_until=None) | Q(lease_until__lt=Now()), state=AlertState.WAITING, made_at__lt=at - GIVEN_UP_AFTER
    ).update(state=AlertState.UNDELIVERED, next_attempt_at=at)


def _settle(claim: Claim, state: AlertState, trouble: str, at: dt.datetime, again: dt.datetime) -> bool:
    with connection.cursor() as cursor:
        words: dict[str, Any] = {
            "id": claim.id,
            "fence": claim.fence,
            "at": at,
            "next": again,
            "state": state,
            "trouble": trouble,
        }
        cursor.execute(_SETTLE, words)
        return bool(cursor.rowcount)
