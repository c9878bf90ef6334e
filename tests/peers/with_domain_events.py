"""django-domain-events: an event and a delivery row in the transaction of the save; relays run the receiver."""

import os
from dataclasses import dataclass

from django.core.management import call_command
from django.db import connection, transaction
from django_domain_events import DURABLE, event, fire, receiver

from tests.peers import copying


@event(name="peers.changed")
@dataclass(frozen=True)
class Changed:
    """A therapist's row was saved."""

    person: int


@receiver(Changed, mode=DURABLE, key="peers.bring")
def bring(changed: Changed) -> None:
    """Write one person's copy."""
    copying.bring(changed.person)


def enqueue(person: int) -> None:
    """Fire the event within the caller's transaction."""
    fire(Changed(person))


def fill(people: list[int]) -> None:
    """Leave one event and one delivery for each, made like the first."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE django_domain_events_eventrecord, django_domain_events_deliveryrecord CASCADE")
        with transaction.atomic():
            fire(Changed(people[0]))
        for table, own, sources in (
            ("eventrecord", {"payload": "jsonb_build_object('person', person)"}, "unnest(%s::bigint[]) AS person"),
            ("deliveryrecord", {"event_id": "e.id"}, "django_domain_events_eventrecord e"),
        ):
            name = f"django_domain_events_{table}"
            cursor.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_name = %s AND column_name <> 'id'"
                " AND is_generated = 'NEVER'", [name],
            )  # fmt: skip
            kept = [column for (column,) in cursor.fetchall() if column not in own]
            first = " WHERE e.id > first.event_id" if table == "deliveryrecord" else ""
            cursor.execute(
                f"INSERT INTO {name} ({', '.join([*own, *kept])})"
                f" SELECT {', '.join([*own.values(), *(f'first.{column}' for column in kept)])}"
                f" FROM {name} AS first, {sources}{first}",
                [people[1:]] if table == "eventrecord" else [],
            )


def work(number: int) -> None:
    """Run one relay."""
    call_command("deliver_events", worker_id=f"relay-{number}-{os.getpid()}")


def failures() -> str:
    """Say how many deliveries have failed, and how many of them are dead."""
    failed = "SELECT count(*) FROM django_domain_events_deliveryrecord WHERE last_error <> ''"
    return f"{copying.count(failed)} failed ({copying.count(f'{failed} AND completed_at IS NOT NULL')} dead)"
