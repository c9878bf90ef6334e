"""`manage.py audit_drift`: compare every copy with its source."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from sync import repair


class Command(BaseCommand):
    """Thin over `sync.repair.audit`."""

    help = "Counts persons whose copies differ, target by target; exit 2 when that could not be read."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="print JSON")
        reach = parser.add_mutually_exclusive_group()
        reach.add_argument("--full", action="store_true", help="compare everybody; this is the default")
        reach.add_argument("--recent", action="store_true", help="compare only what was written since the last audit")
        parser.add_argument("--owe", action="store_true", help="owe what differs, so that the workers mend it")

    def handle(self, *args: Any, owe: bool, **options: Any) -> None:
        """Compare, and print the counts."""
        try:
            counts = repair.audit(owe=owe, is_full=not options["recent"])
        except Error as error:
            raise CommandError(f"The copies could not be compared: {type(error).__name__}.", returncode=2) from error
        unlinked = counts.pop("unlinked", 0) or 0
        unread = [target for target, number in counts.items() if number is None]
        if options["json"]:
            answer = {
                "targets": counts,
                "unlinked": unlinked,
                "total": sum(n or 0 for n in counts.values()) + unlinked,
                "owed": owe,
            }
            self.stdout.write(json.dumps(answer, indent=2))
        else:
            for target, number in counts.items():
                found = "cannot be read" if number is None else f"{number} differ"
                self.stdout.write(f"{target}: {found}")
            self.stdout.write(f"not linked although the address matches: {unlinked}")
            if owe:
                self.stdout.write("What differs is owed now; the workers bring it in line.")
        if unread:
            raise CommandError(f"Could not be read: {', '.join(unread)}.", returncode=2)
