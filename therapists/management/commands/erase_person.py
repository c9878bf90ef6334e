"""`manage.py erase_person ID [--confirm]`: erase a person from every table and file."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError
from django.utils import timezone

from therapists import erasure


class Command(BaseCommand):
    """Thin over `therapists.erasure.erase`."""

    help = "Counts what is kept of a person, table by table; with --confirm erases it. Exit 2: nothing is kept of them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("id", type=int, help="the person's id; with --enrollment an enrollment's")
        parser.add_argument(
            "--enrollment", action="store_true", help="ID is of an enrollment: for applicants without a user"
        )
        parser.add_argument("--confirm", action="store_true", help="erase; without it nothing is changed")

    def handle(self, *args: Any, **options: Any) -> None:
        """Find, count, and erase when told to."""
        number = options["id"]
        try:
            subject = erasure.find(enrollment_id=number) if options["enrollment"] else erasure.find(person_id=number)
        except erasure.NobodyThere:
            raise CommandError("Nothing is kept under this id.", returncode=2) from None
        if not options["confirm"]:
            self._list(erasure.counts(subject))
            self.stdout.write("Nothing was changed. Add --confirm to erase all of this; it cannot be undone.")
            return
        try:
            self._list(erasure.erase(subject=subject, by="command", at=timezone.now()))
        except OperationalError:
            raise CommandError("Somebody is writing there right now. Nothing was erased: try again.") from None
        self.stdout.write("Erased. History keeps ids and codes; backups are not reached from here.")

    def _list(self, counts: dict[str, int]) -> None:
        for name, number in counts.items():
            self.stdout.write(f"{name}: {number}")
