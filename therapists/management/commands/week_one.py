"""`manage.py week_one`: the figures that the founding documents watch in the first week, and later."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error
from django.utils import timezone

from therapists import week


class Command(BaseCommand):
    """Thin over `therapists.week`."""

    help = "Prints consistency by fact, open interventions and failed operations; exit 1: not on target, 2: unknown."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Count, print and judge."""
        try:
            found = week.figures(at=timezone.now())
        except Error as error:
            raise CommandError(
                f"Unknown: the figures cannot be read ({type(error).__name__}).", returncode=2
            ) from error
        if options["json"]:
            self.stdout.write(json.dumps(found.as_json(), indent=2))
        else:
            for one in found.facts:
                self.stdout.write(f"{one.fact}: {one.percent:g} % consistent ({one.consistent} of {one.of})")
            self.stdout.write(f"open interventions: {found.open_interventions} (target: fewer than {week.FEWER_ITEMS})")
            for operation, number in found.errors.items():
                self.stdout.write(f"failed within a week: {operation}: {number}")
        if found.unread:
            raise CommandError(f"Could not be read: {', '.join(found.unread)}.", returncode=2)
        if not found.is_on_target:
            raise CommandError("Not on target.")
