"""
What an audit and a repair of many cost, against the bare join and one hand-written UPDATE for each copy.

A million therapists take about ten minutes on two cores that are left alone, a third of it to make them; 100,000 take one.
"""

from tests import measuring  # isort: skip - first, because it sets Django up
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import psycopg
from django.db import transaction

from sync import repair, runs
from sync.models import Audit, Run, RunState
from tests import fakes
from tests.measuring import Figure, interleaved, report, seconds
from therapists.demo.population import seed_population

TABLES = ("users", "therapist_enrollments", "therapist_profiles")
# The comparison that the audit makes, as somebody would write it once by hand.
BARE_JOIN = """
SELECT count(*) FROM users u
LEFT JOIN therapist_enrollments e ON e.user_id = u.id LEFT JOIN therapist_profiles p ON p.user_id = u.id
WHERE (e.id IS NOT NULL AND (e.full_name IS DISTINCT FROM u.full_name OR e.email IS DISTINCT FROM u.email
        OR u.is_verified IS DISTINCT FROM (e.status = 'approved') OR u.avatar_url IS DISTINCT FROM e.profile_image_url))
   OR (p.id IS NOT NULL AND e.id IS NOT NULL AND (p.bio IS DISTINCT FROM e.bio OR p.phone IS DISTINCT FROM e.phone
        OR p.experience_years IS DISTINCT FROM e.experience_years OR p.verification_status IS DISTINCT FROM e.status
        OR keepwell_list_differs(p.specialization, e.specialization)
        OR p.profile_image_url IS DISTINCT FROM e.profile_image_url))
"""
# One set-based statement for each copied table, past every trigger: the least that anybody's repair can cost.
BY_HAND = (
    """
UPDATE users u SET is_verified = coalesce(e.status = 'approved', false) FROM therapist_enrollments e
WHERE e.user_id = u.id AND u.is_verified IS DISTINCT FROM coalesce(e.status = 'approved', false)
""",
    """
UPDATE therapist_enrollments e SET full_name = u.full_name, email = u.email FROM users u
WHERE e.user_id = u.id AND (e.full_name IS DISTINCT FROM u.full_name OR e.email IS DISTINCT FROM u.email)
""",
    """
UPDATE therapist_profiles p SET bio = e.bio, phone = e.phone, experience_years = e.experience_years,
    verification_status = e.status, specialization = CASE WHEN keepwell_list_differs(p.specialization, e.specialization)
    THEN keepwell_text_to_list(e.specialization) ELSE p.specialization END
FROM therapist_enrollments e
WHERE e.user_id = p.user_id AND (p.bio IS DISTINCT FROM e.bio OR p.phone IS DISTINCT FROM e.phone
    OR p.experience_years IS DISTINCT FROM e.experience_years OR p.verification_status IS DISTINCT FROM e.status
    OR keepwell_list_differs(p.specialization, e.specialization))
""",
)


class LockWatch(threading.Thread):
    """Looks every few milliseconds for how long the repair's open transaction has held locks on the rows' tables."""

    LOOK = """
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - a.xact_start)), 0)
FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid
WHERE a.pid = %s AND l.mode = 'RowExclusiveLock' AND l.granted AND l.relation = ANY(%s::regclass[])
"""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self.pid, self.longest, self.looks = pid, 0.0, 0
        self.is_over = threading.Event()

    def run(self) -> None:
        """Look until it is over."""
        with psycopg.connect(fakes.database_url(), autocommit=True) as own:
            while not self.is_over.wait(0.003):
                (held,) = own.execute(self.LOOK, [self.pid, list(TABLES)]).fetchone() or (0,)
                self.longest, self.looks = max(self.longest, float(held)), self.looks + 1


@contextmanager
def drift_kept() -> Iterator[None]:
    """Give everything back afterwards, so that the next finds the same drift."""
    with transaction.atomic():
        fakes.sql("SET LOCAL session_replication_role = replica")
        yield
        transaction.set_rollback(True)


def by_hand() -> float:
    """Write everything by hand and give it back; time the statements alone."""
    with drift_kept():
        return seconds(lambda: [fakes.sql(statement) for statement in BY_HAND])


def audits(rounds: int) -> list[Figure]:
    """Compare the audit with the bare join, and time a clean incremental one."""
    took = interleaved(
        {"join": lambda: fakes.sql(BARE_JOIN), "audit": lambda: repair.audit(owe=False)}, rounds=rounds, warm_up=1
    )
    ratio = took["audit"].ratio_to(took["join"])
    return [
        Figure(
            f"audit of everybody ÷ the bare join ({took['join'].median:.2f} s)", "≤ 1.2",
            f"{ratio:.2f} ({took['audit'].median:.2f} s)", ratio <= 1.2,
        )
    ]  # fmt: skip


def incremental() -> Figure:
    """Time audits of what was written since the last one, when that is clean."""
    assert repair.audit(owe=True)["users"] == 0
    repair.audit(owe=True, is_full=False)
    took = interleaved({"clean": lambda: repair.audit(owe=True, is_full=False)}, rounds=20, warm_up=2)["clean"]
    assert not Audit.objects.order_by("-id")[0].is_full
    return Figure("clean incremental audit", "≤ 50 ms", f"{took.median * 1000:.0f} ms", took.median <= 0.05)


def mended() -> Run:
    """Repair everybody in a run."""
    run = runs.ask_for_repair(by="system", state=RunState.RUNNING)
    while repair.advance(run.pk):
        pass
    return run


def undone(run: Run) -> float:
    """Give the drift back; time that."""
    undo = runs.ask_for_undo(of=run.pk, by="system")
    return seconds(lambda: [None for _ in iter(lambda: repair.advance(undo.pk), False)])


def repairs(rounds: int) -> list[Figure]:
    """Repair everybody in turns with doing it by hand; the drift is given back each time."""
    undoing = list[float]()

    def by_run() -> float:
        done = list[Run]()
        spent = seconds(lambda: done.append(mended()))
        assert fakes.behind() == set()
        undoing.append(undone(done[0]))
        return spent

    took = interleaved({"hand": by_hand, "run": by_run}, rounds=rounds, warm_up=1)
    ratio = took["run"].ratio_to(took["hand"])
    print(f"undo: {min(undoing):.1f} s")
    return [
        Figure(
            f"repair ÷ one UPDATE by hand for each copied table, past the triggers ({took['hand'].median:.1f} s)",
            "≤ 1.0", f"{ratio:.2f} ({took['run'].median:.1f} s)", ratio <= 1,
        ),
        locks(),
        memory(),
    ]  # fmt: skip


def locks() -> Figure:
    """Repair and undo, watched: who looks every few milliseconds takes a processor's time, so this is not timed."""
    watch = LockWatch(int(fakes.sql("SELECT pg_backend_pid()")[0][0]))
    watch.start()
    run = mended()
    undone(run)
    watch.is_over.set()
    watch.join()
    print(f"run: {dict(runs.report(run))}; {watch.looks} looks at locks")
    return Figure(
        "longest lock of a repair and its undo", "≤ 100 ms", f"{watch.longest * 1000:.0f} ms", watch.longest <= 0.1
    )


def memory() -> Figure:
    """Repair under tracemalloc, which takes its time, and leave everything repaired."""
    before = measuring.resident_megabytes()
    tracemalloc.start()
    mended()
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    print(f"resident: {before:.0f} MB before, {measuring.resident_megabytes() - before:.0f} MB more afterwards")
    return Figure("Python's memory for a repair", "≤ 60 MB", f"{peak:.0f} MB", peak <= 60)


def main() -> int:
    """Measure on servers of our own and print the figures; 1 when one is not reached."""
    given = measuring.arguments(__doc__, therapists=1_000_000, rounds=3)
    with measuring.bench():
        started = time.monotonic()
        seed_population(therapists=given.therapists, drift_percent=Decimal(1), seed=1)
        fakes.sql("VACUUM ANALYZE")
        print(f"{given.therapists} therapists, 1 % drift, made in {time.monotonic() - started:.0f} s\n", flush=True)
        figures = audits(given.rounds)
        figures += repairs(given.rounds)
        figures.append(incremental())
        print(f"{time.monotonic() - started:.0f} s in all\n")
        return report(figures)


if __name__ == "__main__":
    raise SystemExit(main())
