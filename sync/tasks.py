"""What workers and beat run. A task carries ids at most: what is to be done stands in PostgreSQL."""

from celery import shared_task
from django.utils import timezone
from kombu.exceptions import OperationalError
from redis import RedisError

from interventions import causes, events, idempotency, intake, retry_runs
from interventions import operations as interventions
from sync import (
    belated,
    calling,
    carrying,
    deletion,
    delivery,
    doorbell,
    drift,
    endpoints,
    identity,
    ledger,
    outside,
    pauses,
    pulse,
    repair,
)


@shared_task(ignore_result=True)
def drain() -> None:
    """Bring in line what is owed now, and wake whoever calls services."""
    delivery.drain()
    calling.wake()


@shared_task(ignore_result=True)
def call() -> None:
    """Tell services what they are owed."""
    if calling.call_all():
        calling.wake()


@shared_task(ignore_result=True)
def sweep() -> None:
    """The floor under lost rings: take in what waits, lapse what hangs, unblock what has a reason, bring in line what is due."""
    intake.take_in()
    interventions.lapse_retries(at=timezone.now())
    ledger.unblock(schema=ledger.schema_of(delivery.tables()))
    belated.take_in()
    outside.follow(at=timezone.now())
    delivery.drain()
    deletion.retire(at=timezone.now())
    calling.wake(is_sweep=True)


@shared_task(ignore_result=True)
def audit() -> None:
    """Compare every copy, owe what differs, and give what is blocked its daily chance; not while staff have it paused."""
    if pauses.is_paused(pauses.AUDIT):
        return
    repair.audit(owe=True)
    doorbell.bell.ring()


@shared_task(ignore_result=True)
def audit_recent() -> None:
    """Compare what was written since the last audit; nearly free when nothing was."""
    if any(repair.audit(owe=True, is_full=False).values()):
        doorbell.bell.ring()


@shared_task(ignore_result=True)
def advance_runs() -> None:
    """Take the runs that staff started further."""
    repair.advance_for_workers()


@shared_task(ignore_result=True)
def advance_retry_runs() -> None:
    """Take every bulk retry one step further."""
    retry_runs.advance_all(at=timezone.now())


@shared_task(ignore_result=True)
def follow_causes() -> None:
    """Bring the causes in line with the live items."""
    causes.follow(at=timezone.now())


@shared_task(ignore_result=True)
def carry() -> None:
    """Carry out the errands that wait."""
    carrying.carry_all()


@shared_task(ignore_result=True)
def link() -> None:
    """Bring together persons and rows that came at the same time; not while staff have it paused."""
    if not pauses.is_paused(pauses.LINK) and repair.owe_unlinked():
        doorbell.bell.ring()


@shared_task(ignore_result=True)
def renew_secrets() -> None:
    """Seal by the newest key what older ones sealed; nearly free when nothing is."""
    endpoints.renew_secrets()


@shared_task(ignore_result=True)
def prune() -> None:
    """Keep records no longer than the settings say."""
    drift.prune(at=timezone.now())
    identity.prune(at=timezone.now())
    deletion.prune(at=timezone.now())
    repair.prune(at=timezone.now())
    pulse.prune(at=timezone.now())
    retry_runs.prune(at=timezone.now())
    idempotency.prune(at=timezone.now())
    carrying.prune(at=timezone.now())


@shared_task(ignore_result=True)
def forget_events() -> None:
    """Keep no more events than a stream that broke off may go on from."""
    events.prune(at=timezone.now())


def _ring() -> None:
    try:
        drain.apply_async(queue="high", expires=60, ignore_result=True)
    except (OperationalError, RedisError) as error:
        raise OSError("The broker did not take the message.") from error


def _ring_callers() -> None:
    try:
        call.apply_async(queue="normal", expires=60, ignore_result=True)
    except (OperationalError, RedisError) as error:
        raise OSError("The broker did not take the message.") from error


doorbell.bell.connect(_ring)
calling.bell.connect(_ring_callers)
