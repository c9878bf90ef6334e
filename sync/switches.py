"""What staff switch off and on: people, targets, operations and breakers, each with its line of history."""

import datetime as dt

from django.db import connection, transaction

from interventions.correlation import request_id
from interventions.models import History
from interventions.search import id_in
from sync import breaker_state, targets
from sync.doorbell import bell
from sync.pauses import OPERATIONS, SYNC, Scope

LONGEST_NOTE = 500


class UnknownSwitch(LookupError):
    """There is nothing of this name that could be switched."""


def pause(*, scope: Scope, key: str, by: str, note: str, at: dt.datetime) -> bool:
    """
    Stop the work on it from now on; gives False where it was paused already. What is owed stays owed.

    A batch that has begun is finished. Raises UnknownSwitch.
    """
    _known(scope, key)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO sync_pause (scope, key, by, at, note) VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [scope, key, by, at, note.strip()[:LONGEST_NOTE]],
        )
        if not cursor.rowcount:
            return False
        _write_down("paused", scope, key, by, before="on", after="paused")
    return True


def resume(*, scope: Scope, key: str, by: str, at: dt.datetime) -> bool:
    """
    Let the work go on; gives False where nothing was paused. What is parked follows: of a target over a ramp.

    Raises UnknownSwitch.
    """
    _known(scope, key)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM sync_pause WHERE scope = %s AND key = %s", [scope, key])
        if not cursor.rowcount:
            return False
        for target in targets.names():
            if (scope, key) in {(Scope.TARGET, target), (Scope.OPERATION, SYNC)}:
                breaker_state.begin_ramp(target, at)
        _write_down("resumed", scope, key, by, before="paused", after="on")
    bell.ring()
    return True


def reset_breaker(*, target: str, by: str, at: dt.datetime) -> bool:
    """
    Try an open target at once, with the first wait again; forget what was counted of a closed one.

    Gives whether it was open. It closes only when the try is answered. Raises UnknownSwitch.
    """
    _known(Scope.TARGET, target)
    with transaction.atomic():
        before = breaker_state.reset(target, at)
        _write_down("breaker_reset", Scope.TARGET, target, by, before=before.word, after=before.word)
    bell.ring()
    return before.word == "open"


def _known(scope: Scope, key: str) -> None:
    known = {
        # As the row's key is compared: another spelling of the number would pause nobody.
        Scope.PERSON: str(id_in(key)) == key,
        Scope.TARGET: key in targets.names(),
        Scope.OPERATION: key in OPERATIONS,
    }
    if not known[scope]:
        raise UnknownSwitch(f"There is no {scope} of this name.")


def _write_down(action: str, scope: Scope, key: str, by: str, *, before: str, after: str) -> None:
    History.objects.create(
        actor=by, action=action, object_type=scope, object_id=key, from_state=before, to_state=after,
        request_id=request_id.get(),
    )  # fmt: skip
