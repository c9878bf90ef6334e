"""`manage.py alert_test`: sends a test alert through each channel now, and tells what came of it."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from interventions import deliveries
from interventions.items import SYSTEM
from interventions.models import AlertDelivery, AlertState

# A worker that was quicker has it: its answer is waited for as long as one message may take.
PATIENCE_SECONDS = 30


class Command(BaseCommand):
    """Uses the network; writes one row for each channel, which the notices page shows."""

    help = "Sends a test alert through each channel. Exit 1: one of them did not take it, or none is set up."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Send, and print a line for each channel."""
        put = deliveries.put_tests(by=SYSTEM, at=timezone.now())
        if not put:
            raise CommandError("No channel is set up: ALERT_URLS_STAFF or ALERT_MAIL_STAFF names one.")
        missed = [delivery for delivery in put if not self._is_taken(delivery)]
        if missed:
            raise CommandError(f"{len(missed)} of {len(put)} channels did not take it.")

    def _is_taken(self, delivery: AlertDelivery) -> bool:
        claim = deliveries.claim_next(at=timezone.now(), only=delivery.pk)
        if claim is not None:
            deliveries.send(claim)
        until = time.monotonic() + PATIENCE_SECONDS
        delivery.refresh_from_db()
        while delivery.lease_until is not None and time.monotonic() < until:
            time.sleep(0.2)
            delivery.refresh_from_db()
        is_taken = delivery.state == AlertState.SENT
        self.stdout.write(f"{delivery.channel}: {'taken' if is_taken else f'not taken ({delivery.trouble})'}")
        return is_taken
