"""`manage.py check_interventions`: for cron and monitoring; never says "fine" when it could not look."""

import json
from argparse import ArgumentParser
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connection, transaction
from django.utils import timezone
from django.utils.timesince import timesince

from interventions import alerts, cleaning, spool
from interventions.handlers import Lag, lags
from interventions.messages import count
from interventions.models import AlertWatch, Intervention

LISTED = 100
# Who has not looked whom to tell for so long, and for several of their rounds, does not look at all.
SILENT = timedelta(minutes=10)


@dataclass(frozen=True)
class Told:
    """What staff were told, and what they should know of though nobody may be there to tell them."""

    undelivered: int
    looked_at: datetime | None
    behind: list[Lag]

    @classmethod
    def now(cls, at: datetime) -> "Told":
        """Read it; raises DatabaseError."""
        watch = AlertWatch.objects.first()
        return cls(alerts.undelivered(at=at).count(), watch.looked_at if watch else None, lags())

    def counts(self, at: datetime) -> dict[str, Any]:
        """Give it as JSON says it."""
        return {
            "undelivered": self.undelivered,
            "looked_seconds_ago": self.looked_at and round((at - self.looked_at).total_seconds()),
            "behind": [
                {"name": lag.name, "seconds": round((at - lag.since).total_seconds()), "people": lag.people}
                for lag in self.behind
            ],
        }

    def problems(self, at: datetime) -> list[str]:
        """Say what is not as it should be."""
        found = [f"{lag.says} For {_age(lag.since, at)}." for lag in self.behind]
        if self.undelivered:
            found.append(f"{count(self.undelivered, 'message')} to staff could not be delivered.")
        # Where nobody ever looked no worker has been started yet: nothing is said, for nothing is known to be wrong.
        if self.looked_at and at - self.looked_at > max(SILENT, timedelta(seconds=10 * settings.ALERT_SECONDS)):
            found.append(f"For {_age(self.looked_at, at)} nobody has looked whom to tell: no worker runs, or no beat.")
        return found


class Command(BaseCommand):
    """Reads only."""

    help = (
        "Lists what needs a person, oldest first; exit 1: more than --max are open, failures wait in the spool, something"
        " is behind for too long, staff could not be told, or nobody looks; 2: it could not be read."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.add_argument("--max", type=int, default=0, metavar="N", help="how many open ones are still fine")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print what is open and judge its number."""
        at = timezone.now()
        spooled = _spooled()
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '10s'")
                unresolved = Intervention.objects.filter(resolved=False)
                number = unresolved.count()
                items = [_line(item, at) for item in unresolved.order_by("timestamp", "pk")[:LISTED]]
                told = Told.now(at)
        except Error as error:
            unread = f"Unknown: interventions cannot be read ({type(error).__name__})."
            raise CommandError(" ".join([unread, *_told(spooled, at)]), returncode=2) from error
        most: int = options["max"]
        if options["json"]:
            oldest = items[0]["age_seconds"] if items else None
            said = {"open": number, "max": most, "oldest_seconds": oldest, "spool": _counts(spooled, at)}
            self.stdout.write(json.dumps(said | {"alerts": told.counts(at), "items": items}, indent=2))
        else:
            self._write(number, items, at)
        problems = [f"{number} open, at most {most} allowed."] if number > most else []
        problems += _told(spooled, at) + told.problems(at)
        if problems:
            raise CommandError(" ".join(problems))

    def _write(self, number: int, items: list[dict[str, Any]], at: datetime) -> None:
        self.stdout.write(f"{number} open interventions")
        for item in items:
            age = _age(datetime.fromisoformat(item["opened_at"]), at)
            self.stdout.write(f"{item['operation']} {item['target'] or '-'}: {item['error']}, for {age}, {item['id']}")
        if number > len(items):
            self.stdout.write(f"and {number - len(items)} more")


def _age(since: datetime, at: datetime) -> str:
    return timesince(since, at).replace("\xa0", " ")


def _spooled() -> spool.Standing:
    try:
        return spool.standing()
    except OSError as error:
        raise CommandError(f"Unknown: the spool cannot be read ({type(error).__name__}).", returncode=2) from error


def _counts(spooled: spool.Standing, at: datetime) -> dict[str, Any]:
    return {
        "waiting": spooled.waiting, "oldest_seconds": spooled.oldest_seconds(at), "unreadable": spooled.unreadable,
        "refused": spooled.refused,
    }  # fmt: skip


def _told(spooled: spool.Standing, at: datetime) -> list[str]:
    """Say what keeps the spool from being empty; nothing while it is."""
    told = []
    if spooled.waiting:
        told.append(f"{spooled.waiting} failures wait in the spool, the oldest for {spooled.oldest_seconds(at)} s.")
    if spooled.unreadable:
        told.append(f"{spooled.unreadable} files of the spool cannot be read.")
    if spooled.refused:
        told.append(f"{spooled.refused} failures found no room in the spool.")
    return told


def _line(item: Intervention, at: datetime) -> dict[str, Any]:
    return {
        "id": str(item.pk), "operation": item.operation, "target": item.target, "person_id": item.person_id,
        # Other programs may write anything: what could be somebody's is not repeated in logs and mails of cron.
        "error": item.error if item.code else cleaning.text(item.error, 200),
        "opened_at": item.timestamp.isoformat(), "age_seconds": round((at - item.timestamp).total_seconds()),
    }  # fmt: skip
