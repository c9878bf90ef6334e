"""A machine that plays writers, workers, staff and troubles against the real engine, and looks after every step."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import psycopg
from django.db import OperationalError, transaction
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from interventions import failpoints, operations
from interventions.models import Intervention
from sync import delivery, ledger, repair, tasks, triggers
from sync.models import Ledger
from tests import fakes, oracle
from tests.concurrency.held import Gate, Worker, only_when
from tests.concurrency.writers import AVATARS, COPIES, KEYS, PROFILES, REPEATED, SOURCES, TABLES, Column, Spot, Writer
from therapists.models import Enrollment, Profile, User

PEOPLE = (1, 2)
WRITER, PERSON = st.integers(0, 1), st.sampled_from(PEOPLE)
MODELS: dict[str, Any] = {"users": User, "therapist_enrollments": Enrollment, PROFILES: Profile}
# Where a worker may be held, or may die, with what others do meanwhile.
POINTS = [
    *("sync.after_claim",) * 4, "sync.before_claim", "sync.after_lock", "sync.after_write", "sync.before_settle",
    "sync.batch.before_commit", "sync.batch.after_commit", "interventions.after_open", "interventions.after_settle",
]  # fmt: skip
# How a table fails copies, and only copies: refused for good, busy for a moment, or dropped without a word.
TROUBLES = ("refuses", "is busy", "drops")
PREPARE = """
CREATE TABLE trouble (target text PRIMARY KEY, kind text NOT NULL);
CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE found text := (SELECT kind FROM public.trouble WHERE target = TG_TABLE_NAME);
BEGIN
  IF NEW.net_revision <= OLD.net_revision THEN RETURN NEW; END IF;
  CASE found WHEN 'refuses' THEN RAISE check_violation; WHEN 'is busy' THEN RAISE lock_not_available;
    WHEN 'drops' THEN RETURN NULL; ELSE RETURN NEW; END CASE;
END $$;
""" + "".join(
    f"CREATE TRIGGER zz_trouble BEFORE UPDATE ON {t} FOR EACH ROW EXECUTE FUNCTION trouble();" for t in TABLES
)
CLEAR = "".join(f"DROP TRIGGER zz_trouble ON {t};" for t in TABLES) + "DROP FUNCTION trouble(); DROP TABLE trouble;"
FILL = f"""
INSERT INTO users (id, email, full_name, password, user_type, is_superuser, is_verified)
    SELECT n, n || '@example.org', 'first', '', 'therapist', false, true FROM unnest(ARRAY{list(PEOPLE)}) n;
INSERT INTO therapist_enrollments (user_id, email, full_name, status, approved_at, updated_at)
    SELECT id, email, full_name, 'approved', now(), now() FROM users;
INSERT INTO therapist_profiles (user_id, verification_status, updated_at) SELECT id, 'approved', now() FROM users
"""

# Every source as it stands.
FOUND = " UNION ALL ".join(
    f"SELECT '{c.table}', '{c.name}', {KEYS[c.table]}, {c.name}::text FROM {c.table}" for c in SOURCES
)


@dataclass
class Stage:
    """The connections of one run, and how the database is emptied between examples."""

    eye: fakes.Connection
    writers: list[Writer]
    empty: str

    def reset(self) -> None:
        """Start anew with two people whose copies are all equal."""
        self.eye.execute(
            f"SET session_replication_role = replica; {self.empty}; {FILL}; RESET session_replication_role"
        )


class Engine(RuleBasedStateMachine):
    """Everything that may happen to two people's rows; the invariants are the promises."""

    stage: ClassVar[Stage]

    @initialize(is_copying=st.booleans())
    def start(self, is_copying: bool) -> None:
        """Begin with two people in line."""
        self.stage.reset()
        self.writers = self.stage.writers
        self.worker: Worker | None = None
        self.number = 0
        self.is_copying = True
        # What is committed: sources by their spot, avatars by person and revision.
        self.sources: dict[Spot, Any] = {}
        self.avatars: dict[tuple[int, int], Any] = {}
        if not is_copying:
            self.switch_copying()

    # Writers

    @rule(which=WRITER, person=PERSON, column=st.sampled_from(SOURCES + AVATARS + COPIES), is_committed=st.booleans())
    def write(self, which: int, person: int, column: Column, is_committed: bool) -> None:
        """Somebody writes a value in SQL, and commits now or later."""
        writer, value = self.writers[which], self._value(column)
        writer.begin()
        try:
            revision = writer.write(column, person, value)
        except psycopg.Error as error:
            self._judge(error, writer, column.table, person)
            writer.end("ROLLBACK")
            return
        if column.is_avatar and revision is not None:
            self.avatars[person, revision] = value
        if is_committed:
            self.end(which, "COMMIT")

    @rule(which=WRITER, person=PERSON, columns=st.permutations(SOURCES + AVATARS + COPIES))
    def write_beside_each_other(self, which: int, person: int, columns: list[Column]) -> None:
        """Two write the same person, and the one who came first commits last."""
        self.write(which, person, columns[0], is_committed=False)
        self.write(1 - which, person, columns[1], is_committed=True)
        self.end(which, "COMMIT")

    @rule(which=WRITER)
    def begin_repeatable(self, which: int) -> None:
        """Somebody works above READ COMMITTED."""
        self.writers[which].begin(is_repeatable=True)
        self.writers[which].connection.execute("SELECT 1")

    @rule(which=WRITER)
    @only_when(lambda self: self._is_open(0) or self._is_open(1))
    def constrain_now(self, which: int) -> None:
        """Somebody wants to see the copies before the commit."""
        if self._is_open(which):
            self.writers[which].constrain_now()

    @rule(which=WRITER, word=st.sampled_from(["COMMIT", "COMMIT", "ROLLBACK"]))
    @only_when(lambda self: self._is_open(0) or self._is_open(1))
    def end(self, which: int, word: str) -> None:
        """Somebody commits, which never fails (P3), or thinks again."""
        self.sources |= self.writers[which].end(word) if self._is_open(which) else {}

    @rule(which=WRITER, person=PERSON, table=st.sampled_from(TABLES), whole=st.booleans())
    def lock(self, which: int, person: int, table: str, whole: bool) -> None:
        """
        Somebody locks a row, or a whole table, and holds it.

        Never so that PostgreSQL's own look at a foreign key would wait: it comes with the second write of a row in a
        transaction, with or without us.
        """
        writer = self.writers[which]
        writer.begin()
        try:
            if whole:
                writer.connection.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE NOWAIT")
                writer.tables.add(table)
            else:
                writer.connection.execute(
                    f"SELECT FROM {table} WHERE {KEYS[table]} = %s FOR NO KEY UPDATE NOWAIT", [person]
                )
                writer.rows.add((table, person))
        except (psycopg.errors.LockNotAvailable, psycopg.errors.SerializationFailure):
            writer.end("ROLLBACK")

    @rule(which=WRITER, person=PERSON)
    def delete_or_insert_copy(self, which: int, person: int) -> None:
        """Somebody deletes a profile, or makes the one that is missing."""
        writer = self.writers[which]
        writer.begin()
        try:
            if not writer.connection.execute(f"DELETE FROM {PROFILES} WHERE user_id = %s", [person]).rowcount:
                writer.connection.execute(
                    f"INSERT INTO {PROFILES} (user_id, updated_at) SELECT id, now() FROM users WHERE id = %s", [person]
                )
        except psycopg.Error as error:
            self._judge(error, writer, PROFILES, person)
            writer.end("ROLLBACK")
            return
        writer.rows |= {(table, person) for table in (TABLES if writer.is_immediate else (PROFILES, "users"))}

    @rule(person=PERSON, column=st.sampled_from(SOURCES + AVATARS))
    def save(self, person: int, column: Column) -> None:
        """Somebody saves through the application, which fans out after the commit."""
        value, key = self._value(column), {KEYS[column.table]: person}
        try:
            with transaction.atomic():
                row = MODELS[column.table].objects.filter(**key).first()
                if row is None:
                    return
                setattr(row, column.name, value)
                row.save(update_fields=[column.name])
                revision = fakes.sql(
                    f"SELECT avatar_revision FROM {column.table} WHERE {KEYS[column.table]} = %s", person
                )[0][0]
        except OperationalError as error:
            self._judge(error.__cause__, None, column.table, person)
            return
        if column.is_avatar:
            self.avatars[person, revision] = value
        elif column in SOURCES:
            self.sources[column.table, column.name, person] = value

    # Workers

    @rule(batches=st.sampled_from([1, 200]), held=st.sampled_from([None, None, *TABLES]))
    def drain(self, batches: int, held: str | None) -> None:
        """A worker takes up one batch, or all; perhaps while somebody holds a whole table for a moment."""
        with self.stage.eye.transaction():
            if held:
                with suppress(psycopg.errors.LockNotAvailable), self.stage.eye.transaction():
                    self.stage.eye.execute(f"LOCK TABLE {held} IN EXCLUSIVE MODE NOWAIT")
            delivery.drain(batches=batches)

    @rule(point=st.sampled_from(POINTS))
    @precondition(lambda self: self.worker is None)
    def hold_worker(self, point: str) -> None:
        """A worker starts and is held at a point, if it comes there, while other things happen."""
        worker = Worker(Gate(point))
        failpoints._orders = worker.gate  # type: ignore[assignment]
        worker.start()
        while not (worker.work.done() or worker.gate.is_reached.wait(0.002)):
            pass
        self.worker = worker

    @rule(must_die=st.booleans())
    @precondition(lambda self: self.worker is not None)
    def let_worker_go(self, must_die: bool) -> None:
        """The held worker goes on, or dies."""
        worker, self.worker = self.worker, None
        failpoints._orders = None
        assert worker
        worker.end(must_die=must_die)

    @rule(which=WRITER, point=st.sampled_from(POINTS), person=PERSON, columns=st.permutations(SOURCES + AVATARS))
    @precondition(lambda self: self.worker is None)
    def write_beside_a_held_worker(self, which: int, point: str, person: int, columns: list[Column]) -> None:
        """Somebody writes, a worker takes it up, and in the middle of that they write something else."""
        self._owe(which, person, columns[0])
        self.hold_worker(point)
        self._owe(which, person, columns[1])
        self.let_worker_go(must_die=False)

    @rule(which=WRITER, person=PERSON, column=st.sampled_from(SOURCES))
    @precondition(lambda self: self.worker is None)
    def commit_beside_a_waiting_worker(self, which: int, person: int, column: Column) -> None:
        """Somebody writes a fact again, holds its copies, and commits while a worker waits for them, if it ever does."""
        self._owe(which, person, column)
        older, had = self._newest(column, person), self._copied(column, person)
        for written in (*COPIES, column):
            self.write(which, person, written, is_committed=False)
        # Held after its first batch: the next one may mend what this one spoiled.
        self.worker = worker = Worker(Gate("sync.batch.after_commit"))
        failpoints._orders = worker.gate  # type: ignore[assignment]
        worker.start()
        fakes.wait_until(
            lambda: worker.has_stopped() or (worker.pid and fakes.waits_for_a_lock(worker.pid)),
            what="the worker is done, or waits for whoever writes",
        )
        if self._is_open(which):
            self.end(which, "COMMIT")
        fakes.wait_until(worker.has_stopped, what="the worker's first batch is over")
        if older not in (had, self._newest(column, person)):
            assert self._copied(column, person) != older, "P2: an older value over a newer one"
        self.let_worker_go(must_die=False)

    @rule(is_day=st.booleans())
    @precondition(lambda self: self.worker is None)
    def let_time_pass(self, is_day: bool) -> None:
        """What backs off is due; after a day the audit has owed what differs, and blocked rows have their chance."""
        Ledger.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=timezone.now())
        if is_day:
            repair.audit(owe=True)
            ledger.unblock(schema="", everything=True)

    @rule()
    @precondition(lambda self: self.worker is None)
    def sweep(self) -> None:
        """Beat's sweep."""
        tasks.sweep()

    @rule()
    @only_when(lambda self: self._is_quiet())
    def switch_copying(self) -> None:
        """Operators switch copying off, or on again."""
        (triggers.disable if self.is_copying else triggers.enable)()
        self.is_copying = not self.is_copying

    # Troubles and staff

    @rule(table=st.sampled_from(TABLES), kind=st.sampled_from(TROUBLES))
    def break_target(self, table: str, kind: str) -> None:
        """A table begins to fail copies."""
        self.stage.eye.execute("INSERT INTO trouble VALUES (%s, %s) ON CONFLICT DO NOTHING", [table, kind])

    @rule()
    def mend_targets(self) -> None:
        """Every table takes copies again."""
        self.stage.eye.execute("DELETE FROM trouble")

    @rule()
    @precondition(lambda self: self.worker is None)
    def retry(self) -> None:
        """Staff retry every open item."""
        operations.retry_items(items=Intervention.objects.filter(resolved=False), by="user:1", at=timezone.now())

    @rule(may_accept=st.booleans())
    @precondition(lambda self: self.worker is None)
    def mark_resolved(self, may_accept: bool) -> None:
        """Staff call every open item resolved; what differs is refused, or accepted with a note."""
        before = set(Intervention.objects.filter(resolved=False).values_list("pk", flat=True))
        operations.mark_resolved(
            items=Intervention.objects.filter(resolved=False), by="user:1", note="Seen." if may_accept else "",
            may_accept=may_accept, at=timezone.now(),
        )  # fmt: skip
        verified = Intervention.objects.filter(pk__in=before, resolution="verified").values_list("person_id", "target")
        assert not set(verified) & self._differing(), "P8: resolved, and yet different"

    # What must hold after every step

    @invariant()
    def promises_hold(self) -> None:
        """P1, P2, P7 and the ledger's own words, each in one snapshot."""
        look = self.stage.eye.execute
        assert look(oracle.SILENT).fetchall() == [], "P1: silently behind"
        assert look(oracle.FORGOTTEN).fetchall() == [], "P7: forgotten"
        assert look(oracle.CONTRADICTIONS).fetchall() == [], "the ledger contradicts itself"
        for person, target, revision, value in look(oracle.AVATARS).fetchall():
            assert value == self.avatars.get((person, revision)), f"P2: {target} numbers {value} as {revision}"
        found = {(table, column, person): value for table, column, person, value in look(FOUND).fetchall()}
        lost = {spot for spot, value in self.sources.items() if found[spot] != str(value)}
        assert not lost, "P2: not what was saved"

    def teardown(self) -> None:
        """Mend everything and let the workers work: all is equal, accepted, or waits for a row that is missing."""
        if not hasattr(self, "worker"):
            return
        try:
            if self.worker is not None:
                self.let_worker_go(must_die=False)
        finally:
            failpoints._orders = None
            for writer in self.writers:
                writer.end("ROLLBACK")
        self.mend_targets()
        if not self.is_copying:
            self.switch_copying()
        self.let_time_pass(is_day=True)
        fakes.settled()
        self.promises_hold()
        accepted = Intervention.objects.filter(resolution="accepted").values_list("person_id", "target")
        missing = {(p, t) for p, t, fact in self.stage.eye.execute(oracle.DIFFERENCES).fetchall() if fact == "row"}
        assert self._differing() - missing <= set(accepted), "not in line though everything was mended"

    def _owe(self, which: int, person: int, column: Column) -> None:
        """Write and commit above READ COMMITTED, where nothing is copied and everything is owed."""
        self.writers[which].begin(is_repeatable=True)
        self.write(which, person, column, is_committed=True)

    def _newest(self, column: Column, person: int) -> Any:
        """Give the source's value that was committed last, as far as anybody here wrote one."""
        return self.sources.get((column.table, column.name, person))

    def _copied(self, column: Column, person: int) -> Any:
        """Give what the copy says that repeats the source word for word; None: there is none, or it has no row."""
        if column not in REPEATED:
            return None
        copy = REPEATED[column]
        found = self.stage.eye.execute(
            f"SELECT {copy.name} FROM {copy.table} WHERE {KEYS[copy.table]} = %s", [person]
        ).fetchone()
        return found and found[0]

    def _value(self, column: Column) -> Any:
        self.number += 1
        return column.value(self.number)

    def _is_open(self, which: int) -> bool:
        return self.writers[which].is_open

    def _is_quiet(self) -> bool:
        return self.worker is None and not any(writer.is_open for writer in self.writers)

    def _differing(self) -> set[tuple[int, str]]:
        return {(person, target) for person, target, _ in self.stage.eye.execute(oracle.DIFFERENCES).fetchall()}

    def _judge(self, error: BaseException | None, writer: Writer | None, table: str, person: int) -> None:
        """Tell whether a person's statement may fail: only for what another person holds, or a worker does now (P3)."""
        others = [other for other in self.writers if other is not writer and other.is_open]
        # Above READ COMMITTED a row that came since is not seen: PostgreSQL refuses its change, or a second one like it.
        is_repeatable = bool(writer and writer.is_repeatable) and getattr(error, "sqlstate", "") in {"40001", "23505"}
        is_working = self.worker is not None and not self.worker.work.done()
        is_held = is_working or any(other.holds(table, person) for other in others)
        if not (is_held or is_repeatable):
            raise AssertionError(f"P3: a write of {table} failed though nobody held the row") from error
