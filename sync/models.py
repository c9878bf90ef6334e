"""What the engine remembers: debt, the ledger, attempts, audits, runs and the values that were replaced."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from interventions.models import RunRecord
from sync.outlets import Endpoint, Service
from sync.spares import Errand, ErrandState, KeptAnswer, ServiceFailure, ServiceTally
from sync.stops import Breaker, Pause
from sync.tombstones import Belated, Hold, Tombstone

__all__ = [
    "Attempt", "Audit", "Batch", "Belated", "Breaker", "Debt", "Endpoint", "Errand", "ErrandState", "Gap", "Hold",
    "KeptAnswer", "Ledger", "LostValue", "Pause", "Pulse", "Run", "RunChange", "RunKind", "RunState", "Service",
    "ServiceFailure", "ServiceTally", "Tombstone",
]  # fmt: skip


class Debt(models.Model):
    """
    A copy was not equal when its transaction committed.

    Appended by triggers, never updated: a contested row failed users' writes or deadlocked them. No foreign keys:
    they are checked at commit, outside every handler.
    """

    id = models.BigAutoField(primary_key=True)
    person_id = models.BigIntegerField()
    targets = ArrayField(models.TextField())
    revision = models.BigIntegerField()
    code = models.TextField(null=True)
    at = models.DateTimeField(db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()))

    class Meta:
        db_table = "sync_debt"
        indexes = [models.Index(fields=["person_id"], name="sync_debt_person")]


class Ledger(models.Model):
    """What workers know of one person's target. Only workers and staff's operations write here, never a user's write."""

    pk = models.CompositePrimaryKey("person_id", "target")
    person_id = models.BigIntegerField()
    target = models.TextField()
    # Counted up with every fold of debt; applied and verified follow when the target was written and read back.
    desired_revision = models.BigIntegerField(default=0)
    applied_revision = models.BigIntegerField(default=0)
    verified_revision = models.BigIntegerField(default=0)
    # Null exactly when settled.
    owed_since = models.DateTimeField(null=True)
    attempts = models.IntegerField(default=0)
    crashes = models.IntegerField(default=0)
    # Null while owed: blocked, until the data, the target's schema or a person's wish changes.
    next_attempt_at = models.DateTimeField(null=True)
    lease_owner = models.TextField(null=True)
    lease_until = models.DateTimeField(null=True)
    # Rises with every lease: who comes back late is told by it.
    fence = models.BigIntegerField(default=0, db_default=0)
    # Parked: owed, and not tried until its target, its person or the operation is open again.
    is_paused = models.BooleanField(default=False)
    # A person's recorded decision that the difference stays.
    excluded_reason = models.TextField(null=True)
    last_error_code = models.TextField(null=True)
    # Table, column or constraint that PostgreSQL named; never a value.
    last_error_object = models.TextField(null=True)
    # The target's shape when it was blocked: another shape is a reason to try again.
    blocked_schema = models.TextField(null=True)
    # What an outside service was told last, in a word of its kind; written before the call, for it may have heard it.
    told = models.TextField(null=True)

    class Meta:
        db_table = "sync_ledger"
        constraints = [
            models.CheckConstraint(
                name="sync_ledger_settled_or_owed",
                condition=models.Q(owed_since__isnull=False, applied_revision__lt=models.F("desired_revision"))
                | models.Q(owed_since__isnull=True, applied_revision=models.F("desired_revision")),
            ),
            models.CheckConstraint(
                name="sync_ledger_verified_was_applied",
                condition=models.Q(verified_revision__lte=models.F("applied_revision")),
            ),
        ]
        indexes = [
            models.Index(
                fields=["target", "next_attempt_at"],
                name="sync_ledger_due",
                condition=models.Q(owed_since__isnull=False, next_attempt_at__isnull=False),
            ),
            models.Index(
                fields=["target", "owed_since"], name="sync_ledger_parked", condition=models.Q(is_paused=True)
            ),
            # The desk counts from it alone. It ends no heap-only update that the others leave alive.
            models.Index(
                fields=["target", "owed_since"],
                include=["next_attempt_at", "is_paused"],
                name="sync_ledger_owed",
                condition=models.Q(owed_since__isnull=False, excluded_reason__isnull=True),
            ),
        ]


class Batch(models.Model):
    """
    People whom a worker has taken up, written down before the work starts.

    Deleted by the work's own transaction: a row whose session is gone tells of a worker that died over these people.
    """

    id = models.BigAutoField(primary_key=True)
    # Who works: a session is known by its process and its start, and told dead by both.
    pid = models.IntegerField()
    backend_start = models.DateTimeField()
    server_start = models.DateTimeField()
    people = ArrayField(models.BigIntegerField())
    # Workers that died over these people, this one counted in.
    deaths = models.IntegerField()

    class Meta:
        db_table = "sync_batch"


class Attempt(models.Model):
    """One try to bring a target up to date that failed, or that mended what had failed."""

    id = models.BigAutoField(primary_key=True)
    person_id = models.BigIntegerField()
    target = models.TextField()
    at = models.DateTimeField(db_default=Now())
    # `settled`, or the SQLSTATE or code of ours.
    outcome = models.TextField()
    error_object = models.TextField(null=True)
    attempt = models.IntegerField()
    duration_ms = models.IntegerField()
    # What an outside service said it did, in counts.
    answer = models.JSONField(null=True)

    class Meta:
        db_table = "sync_attempt"
        indexes = [
            models.Index(fields=["person_id", "target", "-id"], name="sync_attempt_of"),
            models.Index(fields=["at"], name="sync_attempt_at"),
        ]


class LostValue(models.Model):
    """What somebody wrote into an owned copy, kept when the source's value took its place; erasable."""

    id = models.BigAutoField(primary_key=True)
    person_id = models.BigIntegerField()
    target = models.TextField()
    # Column name to value as it was written.
    values = models.JSONField()
    at = models.DateTimeField(db_default=Now())
    written_by = models.TextField(help_text="The database role of the writer.")

    class Meta:
        db_table = "sync_lost_value"
        indexes = [
            models.Index(fields=["person_id", "target"], name="sync_lost_value_of"),
            models.Index(fields=["at"], name="sync_lost_value_at"),
        ]


class Gap(models.Model):
    """A time in which the safety net was off, so that P1 and P4 are suspended until an audit has run."""

    id = models.BigAutoField(primary_key=True)
    opened_at = models.DateTimeField(db_default=Now())
    closed_at = models.DateTimeField(null=True)
    audited_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "sync_gap"


class Audit(models.Model):
    """
    One comparison of copies with their sources, and how far it reached.

    `revision` is the highest number that was given when it began, `xid` a transaction that began after that. `covered`
    is the highest number of which every write had ended before anything was read: whatever carries a higher one is for
    the next audit.
    """

    id = models.BigAutoField(primary_key=True)
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    is_full = models.BooleanField()
    revision = models.BigIntegerField()
    xid = models.BigIntegerField()
    covered = models.BigIntegerField(null=True)
    # What was found, in counts; never a value.
    found = models.JSONField(null=True)

    class Meta:
        db_table = "sync_audit"
        default_permissions = ("view",)


class Pulse(models.Model):
    """When each worker, beat and streams process was last at it, by name; written by them alone, and best effort."""

    pk = models.CompositePrimaryKey("role", "name")
    role = models.TextField()
    name = models.TextField()
    at = models.DateTimeField()
    # Of a streams process: how many streams are open.
    load = models.IntegerField(null=True)

    class Meta:
        db_table = "sync_pulse"
        default_permissions = ()


class RunState(models.TextChoices):
    """The life of a run."""

    PLANNING = "planning", "Being planned"
    PLANNED = "planned", "Planned"
    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    CANCELLED = "cancelled", "Cancelled"
    DONE = "done", "Done"


class RunKind(models.TextChoices):
    """What a run does."""

    REPAIR = "repair", "Repair"
    UNDO = "undo", "Undo"


class Run(RunRecord):
    """A long piece of work over many rows: a snapshot, progress, pause, resume and a report. Holds no person's data."""

    kind = models.TextField(choices=RunKind)
    state = models.TextField(choices=RunState)
    # The run whose changes are taken back.
    undoes = models.ForeignKey("self", models.PROTECT, null=True)
    asked_at = models.DateTimeField(db_default=Now())
    # Workers take up again what was left to them; a command's run waits for the command.
    is_for_workers = models.BooleanField(default=False)
    # The last person that there was when it was asked for, and the last one done with.
    until_person = models.BigIntegerField()
    after_person = models.BigIntegerField(null=True)
    # How often what was in somebody's hands has been tried again.
    rounds = models.IntegerField(default=0)
    plan = models.JSONField(default=dict)
    # Outcome to number.
    tally = models.JSONField(default=dict)

    class Meta:
        db_table = "sync_run"
        default_permissions = ("view",)
        permissions = [
            ("repair_run", "May plan, start, pause, resume and cancel repairs"),
            ("undo_run", "May undo a repair"),
        ]
        indexes = [models.Index(fields=["-asked_at"], name="sync_run_asked")]

    def __str__(self) -> str:
        return f"{RunKind(self.kind).label} {str(self.pk)[:8]}"


class RunChange(models.Model):
    """What a run did to one person's target, with the columns as they were and as they became; erasable."""

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, models.CASCADE)
    person_id = models.BigIntegerField()
    target = models.TextField()
    # written, waiting (in somebody's hands: tried again), left, undone, kept (changed since, so not undone).
    outcome = models.TextField()
    # Why it is not simply written.
    code = models.TextField(null=True)
    # Column name to its text, which PostgreSQL reads back as exactly the same value.
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)

    class Meta:
        db_table = "sync_run_change"
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["run", "person_id", "target"], name="sync_run_change_once"),
        ]
        indexes = [
            models.Index(fields=["person_id"], name="sync_run_change_of_person"),
            models.Index(fields=["run", "outcome", "person_id"], name="sync_run_change_by_outcome"),
        ]
