"""django-celery-outbox: a row in the transaction of the save; a relay publishes it, and Celery's workers run it."""

from celery import current_app
from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from django_celery_outbox import OutboxCelery
from redis import Redis

from tests.peers import copying

_BATCH = 5000
app = OutboxCelery("peer")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()


@app.task(name="bring")
def bring(person: int) -> None:
    """Write one person's copy."""
    copying.bring(person)


def enqueue(person: int) -> None:
    """Write the outbox row within the caller's transaction."""
    bring.delay(person)


def fill(people: list[int]) -> None:
    """Leave one outbox row for each, made like the first."""
    Redis.from_url(settings.CELERY_BROKER_URL).flushdb()
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE celery_outbox, celery_outbox_dead_letter")
    with transaction.atomic():
        bring.delay(people[0])
    columns = "created_at, retries, task_name, kwargs, options, schema_version, sentry_trace_id, sentry_baggage"
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO celery_outbox (task_id, args, {columns})"
            f" SELECT gen_random_uuid()::text, jsonb_build_array(person), {columns}"
            " FROM celery_outbox, unnest(%s::bigint[]) AS person",
            [people[1:]],
        )


def work(number: int) -> None:
    """Run the relay, or one worker with two processes."""
    if number == 0:
        call_command("celery_outbox_relay")
    else:
        current_app.worker_main(["worker", "--loglevel=CRITICAL", "--without-gossip", "--without-mingle"])


def failures() -> str:
    """Say what its dead letters hold."""
    return f"{copying.count('SELECT count(*) FROM celery_outbox_dead_letter')} dead letters"
