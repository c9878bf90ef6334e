"""procrastinate: jobs in PostgreSQL, deferred in the transaction that saves the row."""

from django.db import connection
from procrastinate.contrib.django import app

from tests.peers import copying

_BATCH = 5000


@app.task(name="bring")
def bring(person: int) -> None:
    """Write one person's copy."""
    copying.bring(person)


def enqueue(person: int) -> None:
    """Defer a job within the caller's transaction."""
    bring.defer(person=person)


def fill(people: list[int]) -> None:
    """Leave one job for each."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE procrastinate_jobs, procrastinate_events, procrastinate_periodic_defers")
    for start in range(0, len(people), _BATCH):
        bring.batch_defer(*({"person": person} for person in people[start : start + _BATCH]))


def work(number: int) -> None:
    """Run one worker with ten jobs at once."""
    with app.replace_connector(app.connector.get_worker_connector()) as working:
        working.run_worker(concurrency=10, install_signal_handlers=False)


def failures() -> str:
    """Say how many jobs are marked failed."""
    failed = copying.count("SELECT count(*) FROM procrastinate_jobs WHERE status = 'failed'")
    return f"{failed} jobs failed"
