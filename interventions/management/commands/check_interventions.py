"""`manage.py check_interventions`: for cron and monitoring; never says "fine" when it could not look."""

import json
import re
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connection, transaction
from django.utils import timezone
from django.utils.timesince import timesince

from interventions.models import Intervention

LISTED = 100
# Other programs may write anything into `error`; what could be somebody's is not repeated in logs and mails of cron.
_PRIVATE = re.compile(r"\S+@\S+|\w+://\S+|'[^']*'|\"[^\"]*\"|=\([^)]*\)|\+?\d[\d ()./-]{3,}\d")


class Command(BaseCommand):
    """Reads only."""

    help = "Lists what needs a person, oldest first; exit 1: more than --max are open, 2: it could not be read."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.add_argument("--max", type=int, default=0, metavar="N", help="how many open ones are still fine")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print what is open and judge its number."""
        at = timezone.now()
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '10s'")
                unresolved = Intervention.objects.filter(resolved=False)
                number = unresolved.count()
                items = [_line(item, at) for item in unresolved.order_by("timestamp", "pk")[:LISTED]]
        except Error as error:
            raise CommandError(
                f"Unknown: interventions cannot be read ({type(error).__name__}).", returncode=2
            ) from error
        most: int = options["max"]
        if options["json"]:
            self.stdout.write(json.dumps({"open": number, "max": most, "items": items}, indent=2))
        else:
            self._write(number, items, at)
        if number > most:
            raise CommandError(f"{number} open, at most {most} allowed.")

    def _write(self, number: int, items: list[dict[str, Any]], at: datetime) -> None:
        self.stdout.write(f"{number} open interventions")
        for item in items:
            age = timesince(datetime.fromisoformat(item["opened_at"]), at).replace("\xa0", " ")
            self.stdout.write(f"{item['operation']} {item['target'] or '-'}: {item['error']}, for {age}, {item['id']}")
        if number > len(items):
            self.stdout.write(f"and {number - len(items)} more")


def _line(item: Intervention, at: datetime) -> dict[str, Any]:
    return {
        "id": str(item.pk), "operation": item.operation, "target": item.target, "person_id": item.person_id,
        "error": item.error if item.code else _PRIVATE.sub("…", item.error)[:200],
        "opened_at": item.timestamp.isoformat(), "age_seconds": round((at - item.timestamp).total_seconds()),
    }  # fmt: skip
