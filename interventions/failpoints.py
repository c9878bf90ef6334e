"""
Named points at which a crash, an error or a delay can be asked for, to prove that none of them loses anything.

Off unless ALLOW_FAILPOINTS is set; then FAILPOINTS_FILE says what happens where, and is read again while running.
"""

import fcntl
import json
import logging
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Point:
    """Where a point stands (module and function), and what is done and not yet done there."""

    place: str
    meaning: str


# Every point there is. A test compares the places with the calls of `reach()`, and proves that each one is reached.
POINTS = {
    "therapists.before_write": Point("therapists.operations.primary", "The transaction is open; nothing is written."),
    "therapists.before_commit": Point("therapists.operations.primary", "Written; not committed, no copy is made yet."),
    "therapists.after_commit": Point("therapists.operations.primary", "Committed and fanned out; no answer is sent."),
    "sync.after_commit": Point("sync.receivers._fan_out", "A person's write is committed; nothing has followed it."),
    "sync.after_fan_out": Point("sync.receivers._fan_out", "The copies were tried; the workers are not woken yet."),
    "sync.before_publish": Point("sync.doorbell.Doorbell._try_to_send", "A ring is wanted; the broker has nothing."),
    "sync.after_publish": Point("sync.doorbell.Doorbell._try_to_send", "The broker has the ring, or has refused it."),
    "sync.fan_out.before_commit": Point("sync.delivery.fan_out", "The request has made copies; not committed."),
    "sync.fan_out.after_commit": Point("sync.delivery.fan_out", "The request's copies are committed."),
    "sync.asked.after_commit": Point("sync.delivery.bring_in_line", "Somebody's wish is committed; no work is done."),
    "sync.before_claim": Point("sync.delivery._batch", "Whom this worker takes up is committed; nothing is claimed."),
    "sync.after_claim": Point("sync.delivery._deliver", "Debt and due rows are claimed; no copy is locked."),
    "sync.before_lock": Point("sync.reconcile.bring", "Claimed, and linked; no copy is locked."),
    "sync.after_lock": Point("sync.reconcile.bring", "Sources and copies are locked; nothing is compared yet."),
    "sync.before_write": Point("sync.reconcile._bring_flow", "Read: these copies differ; nothing is written."),
    "sync.after_write": Point("sync.reconcile._bring_flow", "Copies are written; not read back yet."),
    "sync.before_settle": Point("sync.delivery._attempt", "Copies are written and read back; the ledger is not."),
    "sync.after_settle": Point("sync.delivery._attempt", "Ledger and items are written; not committed."),
    "sync.audit.after_begin": Point("sync.marks.begin", "An audit is on record; nothing is read."),
    "sync.audit.after_read": Point("sync.surveys._count", "It is read who differs; none of it is owed yet."),
    "sync.audit.before_owe": Point("sync.repair._owe", "What differs in a target is to be owed; it is not."),
    "sync.audit.after_owe": Point("sync.repair._owe", "What differs in a target is owed; that of others may not be."),
    "sync.audit.before_finish": Point("sync.marks.finish", "All is owed; the mark up to which was seen has not moved."),
    "sync.audit.after_finish": Point("sync.marks.finish", "The mark has moved; gaps are not closed."),
    "sync.run.after_ask": Point("sync.runs.ask_for_repair", "A repair is on record; nothing is planned or read."),
    "sync.run.before_plan": Point("sync.runs.write_plan", "The plan is written; not committed."),
    "sync.run.after_plan": Point("sync.runs.write_plan", "The plan is committed; nobody has started the run."),
    "sync.run.before_read": Point("sync.mending.advance", "A repair takes up a range of people; it is not read."),
    "sync.run.after_read": Point("sync.mending.write_all", "It is read who differs; nothing is locked."),
    "sync.run.after_range": Point("sync.mending.advance", "All steps of a range are committed; its end is not noted."),
    "sync.run.before_finish": Point("sync.runs.finish", "Nothing is left to do; that it is done is not committed."),
    "sync.run.after_finish": Point("sync.runs.finish", "The run is done."),
    "sync.undo.after_ask": Point("sync.runs.ask_for_undo", "An undo is on record; nothing is given back."),
    "sync.undo.after_read": Point("sync.undoing.advance", "It is read whose rows to give back; nothing is locked."),
    "sync.adopt.before_write": Point("sync.adoption.adopt", "Value and source are locked; nothing is written."),
    "sync.adopt.after_write": Point("sync.adoption.adopt", "The source is written; the value is not forgotten."),
    "sync.step.before_lock": Point("sync.steps.lock", "A run takes up some people; it is locked, no row of theirs is."),
    "sync.step.after_lock": Point("sync.steps.lock", "The step's rows are locked; not compared with what was read."),
    "sync.step.before_write": Point("sync.steps.attempt", "Still what was read; nothing of this target is written."),
    "sync.step.after_write": Point("sync.steps.attempt", "Rows and their values from before are written together."),
    "sync.step.before_commit": Point("sync.steps._step", "The step is done, and how far the run is; not committed."),
    "sync.step.after_commit": Point("sync.steps._step", "The step is committed; the next has not begun."),
    "sync.batch.before_commit": Point("sync.delivery._batch", "The batch is done; not committed."),
    "sync.batch.after_commit": Point("sync.delivery._batch", "The batch is committed; the next one is not begun."),
    "sync.breaker.after_lock": Point("sync.breaker_state._freed", "A breaker's row is locked; nothing is let through."),
    "sync.breaker.pull.before_commit": Point(
        "sync.breaker_state._pull", "Parked rows are pulled forward, and their breaker knows; not committed."
    ),
    "sync.breaker.pull.after_commit": Point(
        "sync.breaker_state._pull", "Parked rows are pulled forward, committed; nobody has taken them up."
    ),
    "sync.breaker.before_turn": Point("sync.breaker_state._turn", "A breaker opens or closes; nothing is written."),
    "sync.breaker.after_turn": Point(
        "sync.breaker_state._turn", "A breaker, its item and its rows say that it turned; not committed."
    ),
    "sync.breaker.change.before_commit": Point(
        "sync.breaker_state._change", "Staff's wish about a breaker is written; not committed."
    ),
    "sync.lease.after_take": Point("sync.leases.take", "Owed rows are given out; not committed."),
    "sync.lease.before_write": Point("sync.leases._write", "The work is done; the ledger does not know."),
    "sync.lease.after_write": Point("sync.leases._write", "The lease is given back, settled or unused; not committed."),
    "sync.link.before_owe": Point("sync.repair.owe_unlinked", "Rows without their person are found; nothing is owed."),
    "sync.link.before_write": Point("sync.identity.link", "Rows without their person are looked for; none is given."),
    "sync.link.after_write": Point("sync.identity.link", "Rows are given to their person; not committed."),
    "sync.deletion.after_claim": Point("sync.deletion.retire", "Tombstones are locked; no copy is written."),
    "sync.deletion.before_commit": Point("sync.deletion.retire", "Deletions are carried out; not committed."),
    "sync.deletion.after_commit": Point("sync.deletion.retire", "Deletions are carried out, committed; more may wait."),
    "sync.hold.before_commit": Point("sync.deletion._hold_masses", "Deletions are held; not committed."),
    "sync.hold.after_commit": Point("sync.deletion._hold_masses", "Deletions are held; no item says so yet."),
    "sync.hold.decide.before_commit": Point(
        "sync.deletion.decide", "What becomes of held ones is written; not committed."
    ),
    "sync.hold.decide.after_commit": Point(
        "sync.deletion.decide", "The decision is committed; nobody has followed it."
    ),
    "therapists.merge.before_write": Point(
        "therapists.duplicates.decide", "Both are locked, compared; nothing is written."
    ),
    "therapists.erase.before_write": Point(
        "therapists.erasure.erase", "Everything of a person is locked; all is there."
    ),
    "therapists.erase.before_commit": Point("therapists.erasure.erase", "Every row is gone; not committed."),
    "therapists.erase.after_commit": Point(
        "therapists.erasure.erase", "Every row is gone, committed; files are there."
    ),
    "sync.belated.before_commit": Point(
        "sync.belated._stride", "What a trigger could not append is appended; not committed."
    ),
    "sync.quarantine.before_commit": Point(
        "sync.delivery._quarantine", "Who took workers down is put in front of staff; not committed."
    ),
    "interventions.before_open": Point("interventions.items.open_items", "A target failed; its item is not written."),
    "interventions.after_open": Point("interventions.items.open_items", "Items are written; not committed."),
    "interventions.spool.before_sync": Point(
        "interventions.spool._write", "A failure is in a file; it does not count as noted yet."
    ),
    "interventions.intake.before_commit": Point(
        "interventions.intake._add", "What waited in the spool is in the log; not committed."
    ),
    "interventions.intake.after_commit": Point(
        "interventions.intake._take", "What waited is in the log, committed; its files are still there."
    ),
    "interventions.before_settle": Point("interventions.items.settle_items", "Targets are in line; items still open."),
    "interventions.after_settle": Point("interventions.items.settle_items", "Items are resolved; not committed."),
    "interventions.retry.before_commit": Point(
        "interventions.operations.retry_items", "Items are retrying and owed; not committed."
    ),
    "interventions.retry.after_commit": Point(
        "interventions.operations.retry_items", "The wish is committed; the workers are not woken."
    ),
    "interventions.run.switch.before_commit": Point(
        "interventions.retry_runs.switch", "What becomes of a bulk retry is written; not committed."
    ),
    "interventions.run.switch.after_commit": Point(
        "interventions.retry_runs.switch", "What becomes of a bulk retry is committed; no step follows yet."
    ),
    "interventions.run.step.before_commit": Point(
        "interventions.retry_runs.advance", "Answers are taken up and retries asked for; not committed."
    ),
    "interventions.run.step.after_commit": Point(
        "interventions.retry_runs.advance", "The step is committed; the workers are not woken."
    ),
    "interventions.resolve.before_read": Point(
        "interventions.operations.mark_resolved", "Items are locked; neither side is read."
    ),
    "interventions.resolve.before_commit": Point(
        "interventions.operations.mark_resolved", "Items are resolved or refused; not committed."
    ),
    "interventions.resolve.after_commit": Point(
        "interventions.operations.mark_resolved", "The decision is committed; the workers are not woken."
    ),
    "interventions.adopt.before_commit": Point(
        "interventions.operations.adopt_value", "Adopted, with its line of history; not committed."
    ),
    "interventions.adopt.after_commit": Point(
        "interventions.operations.adopt_value", "The adoption is committed; the workers are not woken."
    ),
}


class FailpointReached(Exception):
    """A failpoint was told to raise here."""


@dataclass(frozen=True)
class _Order:
    action: str
    seconds: float = 0.0
    person_id: int | None = None
    times: int | None = None

    @classmethod
    def read(cls, written: Any, shared: dict[str, Any]) -> "_Order":
        """Read what the file says of one point; raises ValueError when it cannot be understood."""
        words: dict[str, Any] = shared | ({"action": written} if isinstance(written, str) else {**written})
        action, _, seconds = str(words.pop("action", "")).partition(":")
        person_id, times = words.pop("id", None), words.pop("times", None)
        if action not in {"kill", "raise", "hang"} or bool(seconds) != (action == "hang") or words:
            raise ValueError(written)
        if not all(number is None or type(number) is int for number in (person_id, times)):
            raise ValueError(written)
        return cls(action, float(seconds or 0), person_id, times)


class _Orders:
    """What the file says now, and how often each order was obeyed, counted beside it for all processes together."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._stamp: str | None = None
        self._orders: dict[str, _Order] = {}

    def take(self, point: str, people: Iterable[int]) -> _Order | None:
        """Give the order for this point if it is to be obeyed now, and count it before anybody can die of it."""
        order = self._order(point)
        if order is None or (order.person_id is not None and order.person_id not in set(people)):
            return None
        with self.file.with_name(f"{self.file.name}.fired").open("a+") as counts:
            # A killed process gives its lock back by itself.
            fcntl.flock(counts, fcntl.LOCK_EX)
            if order != self._order(point):
                return None  # rewritten meanwhile
            counts.seek(0)
            fired = _counted(counts.read(), self._stamp)
            if order.times is not None and fired.get(point, 0) >= order.times:
                return None
            fired[point] = fired.get(point, 0) + 1
            counts.truncate(0)
            counts.write(json.dumps({"of": self._stamp, "fired": fired}))
            counts.flush()
        return order

    def _order(self, point: str) -> _Order | None:
        try:
            stamp = _version(self.file)
        except OSError:
            self._stamp, self._orders = None, {}
            return None
        if stamp != self._stamp:
            self._orders, self._stamp = self._read(), stamp
        return self._orders.get(point)

    def _read(self) -> dict[str, _Order]:
        try:
            written = {**json.loads(self.file.read_text())}
        except (OSError, ValueError, TypeError) as error:
            logger.warning("interventions.failpoints.unreadable", extra={"reason": type(error).__name__})
            return {}
        shared = {word: written.pop(word) for word in ("id", "times") if word in written}
        orders: dict[str, _Order] = {}
        for point, words in written.items():
            try:
                orders[point] = _Order.read(words, shared)
            except (ValueError, TypeError):
                logger.warning("interventions.failpoints.not_understood", extra={"point": point})
            if point not in POINTS:
                logger.warning("interventions.failpoints.unknown_point", extra={"point": point})
        return orders


_orders: _Orders | None = None


def reach(point: str, people: Iterable[int] = ()) -> None:
    """
    Do here what FAILPOINTS_FILE says: nothing, wait, raise FailpointReached, or end this process as `kill -9` does.

    `people` are the persons concerned, for orders that name one. While failpoints are off this is one test.
    """
    if _orders is not None:
        _obey(_orders, point, people)


def allow(file: Path | None) -> None:
    """Let the file say what happens at the points of this process; None: nothing does."""
    global _orders
    _orders = None if file is None else _Orders(file)


def fired(file: Path) -> dict[str, int]:
    """Tell how often each order of the file was obeyed, in all processes, since the file was written."""
    try:
        return _counted(file.with_name(f"{file.name}.fired").read_text(), _version(file))
    except FileNotFoundError:
        return {}


def _obey(orders: _Orders, point: str, people: Iterable[int]) -> None:
    try:
        order = orders.take(point, people)
    except OSError as error:
        # What cannot be counted is not obeyed: `times` is a promise.
        logger.warning("interventions.failpoints.uncounted", extra={"reason": type(error).__name__})
        return
    if order is None:
        return
    logger.warning("interventions.failpoints.reached", extra={"point": point, "action": order.action})
    if order.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if order.action == "raise":
        raise FailpointReached(point)
    time.sleep(order.seconds)


def _version(file: Path) -> str:
    found = file.stat()
    return f"{found.st_mtime_ns}-{found.st_size}-{found.st_ino}"


def _counted(text: str, stamp: str | None) -> dict[str, int]:
    """Read the counts; those of another version of the file do not count."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return dict(found["fired"]) if stamp == found["of"] else {}
