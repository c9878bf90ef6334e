"""`manage.py take_in_spool`: what the sweep of a worker does with this machine's spool, for machines without one."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from interventions import intake, spool


class Command(BaseCommand):
    """Adds what waits to the log, each failure once, however often it is run."""

    help = "Takes failures that wait in this machine's spool into the log; exit 1: something is left."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Take in and say what is left."""
        done = intake.take_in()
        try:
            left = spool.standing()
        except OSError as error:
            raise CommandError(f"The spool cannot be read ({type(error).__name__}).") from error
        self.stdout.write(f"{done.taken} taken in, {left.waiting} left, {left.unreadable} unreadable")
        if not left.is_empty:
            raise CommandError("Something is left in the spool.")
