"""django-jaiminho: a pickled call in the transaction of the save; one relay makes the calls in order."""

from django.core.management import call_command
from django.db import connection
from jaiminho.models import Event
from jaiminho.publish_strategies import create_event_data
from jaiminho.send import save_to_outbox

from tests.peers import copying

_BATCH = 5000


@save_to_outbox
def bring(person: int) -> None:
    """Write one person's copy."""
    copying.bring(person)


def enqueue(person: int) -> None:
    """Write the call down within the caller's transaction."""
    bring(person)


def fill(people: list[int]) -> None:
    """Leave one call for each."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE jaiminho_event")
    for start in range(0, len(people), _BATCH):
        events = [
            Event(**create_event_data(bring.original_func, (person,), {}, "keep-order"))
            for person in people[start : start + _BATCH]
        ]
        for one in events:
            one.signature = one._generate_event_signature()
        Event.objects.bulk_create(events)


def work(number: int) -> None:
    """Run the relay."""
    call_command("events_relay", run_in_loop=True, loop_interval=0.1)


def failures() -> str:
    """Say how many calls wait; it does not say which failed."""
    return f"{Event.objects.filter(sent_at=None).count()} calls wait"
