"""`manage.py seed_demo`: therapists for development, demonstration and measurement."""

from argparse import ArgumentParser
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from therapists.demo.cast import seed_cast
from therapists.demo.population import is_empty, seed_population
from therapists.demo.troubles import seed_troubles


class Command(BaseCommand):
    """Thin over `therapists.demo`."""

    help = "Makes therapists, set by set; refused when DEBUG is off."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--therapists", type=int, default=200, metavar="N", help="how many")
        parser.add_argument(
            "--drift", type=Decimal, default=Decimal(4), metavar="PERCENT", help="of them, one copy each differs"
        )
        parser.add_argument("--seed", type=int, default=1, help="another seed makes other people")
        parser.add_argument("--troubles", action="store_true", help="break a dozen people's copies in real ways")
        parser.add_argument(
            "--if-empty", action="store_true", help="the first start: only an empty database, then with troubles"
        )

    def handle(self, *args: Any, therapists: int, drift: Decimal, **options: Any) -> None:
        """Make the people, then those who can sign in, then the troubles."""
        if not settings.DEBUG:
            raise CommandError("Refused: demo data is for development only, and DEBUG is off.")
        if therapists < 0 or not 0 <= drift <= 100:
            raise CommandError("Give a number of therapists from 0 and a percentage from 0 to 100.", returncode=2)
        if options["if_empty"] and not is_empty():
            return
        seed_population(therapists=therapists, drift_percent=drift, seed=options["seed"], told=self._tell)
        cast = seed_cast()
        if options["troubles"] or options["if_empty"]:
            seed_troubles(decided_by=cast["lena"].pk)

    def _tell(self, number: int) -> None:
        self.stdout.write(f"{number} rows of people are there")
        self.stdout.flush()
