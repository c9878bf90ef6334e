"""The process behind tests/victims.py: loads Django once, then forks for each line of work that it is given."""

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any
from uuid import UUID

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.test import Client, override_settings  # noqa: E402
from django.utils import timezone  # noqa: E402

from interventions import (  # noqa: E402
    alerts,
    attention,
    causes,
    deliveries,
    intake,
    items,
    operations,
    retry_runs,
    spool,
)
from interventions.models import Cause, Intervention  # noqa: E402
from sync import (  # noqa: E402
    belated,
    calling,
    carrying,
    claims,
    deletion,
    delivery,
    doorbell,
    leases,
    outside,
    repair,
    runs,
    switches,
    tasks,
)
from sync.models import Debt, LostValue, RunState  # noqa: E402
from therapists import duplicates, erasure, identity  # noqa: E402

BY = "user:1"


def edit(session: str, bio: str, is_inline: bool = True, key: str = "") -> None:
    """Save a bio through the API as whoever the session belongs to; without fan-out the bell is rung and waited for."""
    if not is_inline:
        settings.SYNC_INLINE_BUDGET_MS = 0
    client = Client(raise_request_exception=False, headers={"host": "localhost"})
    client.cookies[settings.SESSION_COOKIE_NAME] = session
    headers = {"Idempotency-Key": key} if key else {}
    answer = client.patch("/api/v1/therapists/me/", {"bio": bio}, content_type="application/json", headers=headers)
    assert answer.status_code == 200, answer.content
    if not is_inline and doorbell.bell._thread:
        doorbell.bell._thread.join(3)


def retry_in_bulk() -> None:
    """Plan a bulk retry of everything, start it, and take its first step."""
    at = timezone.now()
    run = retry_runs.plan(items=Intervention.objects.all(), title="all", by=BY, at=at)
    retry_runs.switch(run_id=run.pk, action="start", by=BY, at=at)
    retry_runs.advance_all(at=at)


def alert(url: str = "json://127.0.0.1:1/") -> None:
    """Write down whom to tell of the open items' causes, then send it; without an address to where nobody listens."""
    settings.ALERT_URLS_STAFF = [url]
    causes.follow(at=timezone.now())
    alerts.look(at=timezone.now())
    deliveries.send_due()


def follow() -> None:
    """Bring the causes in line with the items."""
    causes.follow(at=timezone.now())


def acknowledge() -> None:
    """See to the only cause."""
    attention.acknowledge(cause_id=Cause.objects.get().pk, by=BY, at=timezone.now())


def assign() -> None:
    """See to the only item."""
    attention.assign(item_id=Intervention.objects.get().pk, by=BY)


def retry() -> None:
    """Retry every open item, as staff do."""
    operations.retry_items(items=Intervention.objects.filter(resolved=False), by=BY, at=timezone.now())


def resolve() -> None:
    """Mark every open item resolved, as staff do who may not accept a difference."""
    operations.mark_resolved(
        items=Intervention.objects.filter(resolved=False), by=BY, note="Seen.", may_accept=False, at=timezone.now()
    )


def take_in() -> None:
    """Let a failure of somebody who is owed something wait in the spool, and take it in."""
    person_id = Debt.objects.values_list("person_id", flat=True)[0]
    failure = items.Failure(
        person_id=person_id, target="therapist_profiles", code="23514", failure_class="refused", detail="", attempts=1
    )
    spool.append([items.as_record(failure, at=timezone.now())])
    intake.take_in()


def reconcile(person: int) -> None:
    """Bring one person in line now."""
    delivery.bring_in_line([person])


def quarantine(person: int) -> None:
    """Drain where so many workers died over somebody that no further one shall."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO sync_batch (pid, backend_start, server_start, people, deaths)"
            " VALUES (0, now(), pg_postmaster_start_time(), ARRAY[%s]::bigint[], %s)",
            [person, claims.DEATHS_ALLOWED],
        )
    delivery.drain()


def mend_all() -> None:
    """Repair everybody in a run."""
    advance(str(runs.ask_for_repair(by=BY, state=RunState.RUNNING).pk))


def advance(run: str) -> None:
    """Take a run to its end."""
    while repair.advance(UUID(run)):
        pass


def undo(run: str) -> None:
    """Undo a run, or go on with its undo."""
    advance(str(runs.ask_for_undo(of=UUID(run), by=BY).pk))


def plan() -> None:
    """Ask for a repair, as staff do, and let the workers plan it."""
    runs.ask_for_repair(by=BY, for_workers=True)
    repair.advance_for_workers()


def adopt() -> None:
    """Adopt the bio that somebody wrote into a copy."""
    operations.adopt_value(value_id=LostValue.objects.get().pk, fact="bio", by=BY)


def append() -> None:
    """Append what a trigger had to set down."""
    belated.take_in()


def lease(target: str, is_used: bool = True) -> None:
    """Take what is due of a target as a worker that calls a service does, and say that it is done, or give it back."""
    with transaction.atomic():
        taken = leases.take(target=target, owner="victim", limit=10, seconds=60)
    for one in taken:
        with transaction.atomic():
            assert leases.settle(one, is_verified=True) if is_used else leases.hand_back(one)


def call(url: str, secret: str) -> None:
    """Configure a directory, fold what it is owed, and tell it."""
    settings.LISTING_URL, settings.LISTING_SECRET, settings.SYNC_PRIVATE_ADDRESSES = url, secret, True
    outside.follow(at=timezone.now())
    delivery.drain()
    calling.call("listing")


def carry(url: str) -> None:
    """Carry out the errands that wait, by this provider of short messages."""
    settings.SMS_URL, settings.SYNC_PRIVATE_ADDRESSES = url, True
    carrying.carry_all()


def link() -> None:
    """Bring together persons and rows that came at the same time."""
    repair.owe_unlinked()
    delivery.drain()


def reset_breaker(target: str) -> None:
    """Try an open target at once, as staff do."""
    switches.reset_breaker(target=target, by=BY, at=timezone.now())


def retire() -> None:
    """Carry deletions out, or hold them."""
    deletion.retire(at=timezone.now())


def decide_hold(hold: int, is_released: bool) -> None:
    """Decide about held deletions, as a lead does."""
    deletion.decide(hold_id=hold, is_released=is_released, by=BY, at=timezone.now())


def merge(first: int, second: int, picks: dict[str, str]) -> None:
    """Merge two enrollments of one address, as a lead does who has looked at both."""
    seen = identity.digest(*identity.ranked([first, second]))
    duplicates.decide(
        first_id=first, second_id=second, choice=duplicates.Choice.MERGE, picks=picks, compared=seen, by=BY,
        at=timezone.now(),
    )  # fmt: skip


def erase(person: int, media: str) -> None:
    """Erase a person from every table and file."""
    with override_settings(MEDIA_ROOT=media):
        erasure.erase(subject=erasure.find(person_id=person), by=BY, at=timezone.now())


WORKS: dict[str, Callable[..., Any]] = {
    "edit": edit, "alert": alert, "follow": follow, "acknowledge": acknowledge, "assign": assign, "retry": retry, "retry_in_bulk": retry_in_bulk, "resolve": resolve, "take_in": take_in,
    "drain": tasks.drain, "reconcile": reconcile, "quarantine": quarantine, "sweep": tasks.sweep, "audit": tasks.audit,
    "audit_recent": tasks.audit_recent, "mend_all": mend_all, "advance": advance, "undo": undo, "plan": plan, "adopt": adopt,
    "append": append, "lease": lease, "call": call, "carry": carry, "link": link, "reset_breaker": reset_breaker, "retire": retire,
    "decide_hold": decide_hold, "merge": merge, "erase": erase,
}  # fmt: skip


def work_until_told_no_more() -> None:
    """Read work, fork, and say how the fork ended."""
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                WORKS[asked["work"]](**asked["words"])
                code = 0
            finally:
                traceback.print_exc() if sys.exc_info()[0] else None
                os._exit(code)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    work_until_told_no_more()
