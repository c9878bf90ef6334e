"""`manage.py failpoints`: the points at which a crash can be asked for."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from interventions.points import POINTS


class Command(BaseCommand):
    """Reads nothing but the registry."""

    help = "Names every failpoint with its place and meaning, and says whether they are on."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--list", action="store_true", help="name them all (the default)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line for each point."""
        for name, point in sorted(POINTS.items()):
            self.stdout.write(f"{name}  {point.place}  {point.meaning}")
        word = f"on, ordered by {settings.FAILPOINTS_FILE}" if settings.ALLOW_FAILPOINTS else "off"
        self.stderr.write(f"{len(POINTS)} failpoints; they are {word}.")
