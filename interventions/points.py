"""Where a crash could matter: every failpoint there is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """Where a point stands (module and function), and what is done and not yet done there."""

    place: str
    meaning: str


# Every point there is. A test compares the places with the calls of `reach()`, and proves that each one is reached.
POINTS = {
    "interventions.events.before_append": Point(
        "interventions.events._append", "Something is committed; no event says so."
    ),
    "interventions.events.after_append": Point("interventions.events._append", "The event is committed."),
    "sync.look.before_commit": Point("sync.realtime.look", "Events and mark are written; not committed."),
    "sync.look.after_commit": Point("sync.realtime.look", "Events are committed; no stream has been sent them."),
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
    "sync.errand.after_claim": Point("sync.carrying.carry_all", "It is leased, committed; nobody has called."),
    "sync.errand.before_call": Point("sync.carrying._carry", "The service has heard nothing."),
    "sync.errand.before_settle": Point("sync.carrying._carry", "The service has answered; nobody else knows."),
    "sync.call.before_claim": Point("sync.calling._take", "Something is owed to a service; nobody holds it."),
    "sync.call.after_claim": Point("sync.calling._take", "It is leased, committed; nothing is read."),
    "sync.call.before_call": Point("sync.calling._attempt", "Facts are read; the service has heard nothing."),
    "sync.call.after_call": Point("sync.calling._attempt", "The service has answered; nobody else knows."),
    "sync.call.before_settle": Point("sync.calling._settled", "The answer is about to be written down."),
    "sync.call.before_fail": Point("sync.calling._failed", "The failure is about to be written down."),
    "sync.call.after_settle": Point("sync.calling._settled", "What came of a call is committed."),
    "sync.call.after_fail": Point("sync.calling._failed", "What did not come of a call is committed."),
    "sync.outside.before_commit": Point(
        "sync.outside.follow", "Which services are configured is written; not committed."
    ),
    "sync.outside.after_commit": Point("sync.outside.follow", "It is committed; nobody is owed what was there before."),
    "sync.outside.owe.before_commit": Point(
        "sync.outside._owe_everybody", "Everybody is owed to a new service; not committed."
    ),
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
    "interventions.key.after_claim": Point(
        "interventions.idempotency._claim", "A request's key is in its write's transaction; nothing else is."
    ),
    "interventions.key.before_store": Point(
        "interventions.idempotency.store", "A keyed write is committed, its answer composed; it is not stored."
    ),
    "interventions.key.after_store": Point(
        "interventions.idempotency.store", "The answer to a keyed write is stored; it is not sent."
    ),
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
    "interventions.follow.before_commit": Point(
        "interventions.causes.follow", "Causes are opened, reopened or resolved as the items say; not committed."
    ),
    "interventions.follow.after_commit": Point(
        "interventions.causes.follow", "Causes are as the items say, committed; nobody was told of them."
    ),
    "interventions.decision.before_commit": Point(
        "interventions.attention._deciding", "A decision about a cause or an item is written; not committed."
    ),
    "interventions.decision.after_commit": Point(
        "interventions.attention._deciding", "A decision about a cause or an item is committed; no answer is sent."
    ),
    "interventions.alert.before_commit": Point(
        "interventions.alerts.look", "Who is to be told of what is written, with each message; not committed."
    ),
    "interventions.alert.after_commit": Point(
        "interventions.alerts.look", "Who is to be told is committed; nothing has been sent."
    ),
    "interventions.delivery.before_send": Point(
        "interventions.deliveries.send", "A message is claimed; it has not been sent."
    ),
    "interventions.delivery.after_send": Point(
        "interventions.deliveries.send", "A message was sent, or was not taken; that is not on record."
    ),
}
