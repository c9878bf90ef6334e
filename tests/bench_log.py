"""How fast failures of one cause are logged, by the engine and by callers, and whether users' saves notice."""

from tests import measuring  # isort: skip - first, because it sets Django up
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from django.conf import settings

from interventions.models import History, Intervention
from tests import fakes
from tests.measuring import Figure, Sample
from therapists.models import Enrollment

FAILURES, ROUNDS, REACH, SLOWER_MS = 10_000, 5, 2_500, 50
CALLERS, PEOPLE, PAUSE, LOOKS = 8, 200, 0.005, 20
QUIET, ENGINE = "nobody logs", "the engine, batches of 500"
MANY, CALLS = "a caller who hands all over at once", f"{CALLERS} callers, one call each failure"
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
waits: list[int] = []
START = """
import os
import sys
import django
django.setup()
from django.db import connection
from django.utils import timezone
from interventions import items
from interventions.operations import log_manual_intervention_needed, log_manual_interventions_needed
connection.ensure_connection()
first, end = int(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
input()
"""
# An interpreter takes longer to end than ten thousand failures to be logged.
END = """
os._exit(0)
"""
OF_THE_ENGINE = """
for at in range(first, end, 500):
    failures = [
        items.Failure(
            person_id=n, target="therapist_profiles", code="23514", failure_class="refused", detail="bio_is_short",
            attempts=1,
        )
        for n in range(at, min(at + 500, end))
    ]
    items.open_items(failures=failures, at=timezone.now())
"""
OF_A_CALLER_WITH_MANY = """
failures = [(n, f"no profile for person {n}") for n in range(first, end)]
assert log_manual_interventions_needed(operation="import", failures=failures)
"""
OF_A_CALLER = """
for n in range(first, end):
    assert log_manual_intervention_needed(operation="import", entity_id=n, error=f"no profile for person {n}")
"""


@contextmanager
def started(script: str, failures: int, number: int) -> "Iterator[list[subprocess.Popen[str]]]":
    """Start processes that share the failures and wait for the word; their start does not count."""
    environment = os.environ | {"DATABASE_URL": fakes.database_url(), "DEBUG": "0", "SECRET_KEY": "of-the-bench"}
    bounds = [failures * part // number for part in range(number + 1)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START + script + END, str(first), str(end)],
            env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for first, end in itertools.pairwise(bounds)
    ]  # fmt: skip
    try:
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def empty_log() -> None:
    """Begin anew."""
    with fakes.asleep():
        for model in (Intervention, History):
            model.objects.all().delete()
    fakes.sql("VACUUM ANALYZE manual_intervention_log, intervention_history")


def logged(script: str, number: int, failures: int, saves: list[float], rows: Sequence[Enrollment]) -> float:
    """Log the failures while users save; look that each is an item and all of them one cause."""
    empty_log()
    with started(script, failures, number) as processes:
        began = time.perf_counter()
        for process in processes:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        spent = [0.0]

        def is_done() -> bool:
            spent[0] = time.perf_counter() - began
            return all(process.poll() is not None for process in processes)

        save_until(is_done, saves, rows)
        assert [process.returncode for process in processes] == [0] * number
    found = Intervention.objects.filter(resolved=False)
    assert found.count() == failures, f"{found.count()} items"
    assert found.values("cause").distinct().count() == 1
    assert History.objects.filter(action="opened").count() == failures
    return spent[0]


def save_until(is_done: Callable[[], bool], saves: list[float], rows: Sequence[Enrollment]) -> None:
    """
    Save one person's bio after the other, as requests do, with a pause between; note how long each took.

    Looks now and then whether one who logs waits for a lock of another.
    """
    while not is_done():
        if len(saves) % LOOKS == 0:
            waits.append(fakes.sql(WAITS)[0][0])
        row = rows[len(saves) % len(rows)]
        row.bio = f"{len(saves)} {time.time_ns()}"
        saves.append(measuring.seconds(partial(row.save, update_fields=["bio"])))
        time.sleep(PAUSE)


def quiet(saves: list[float], rows: Sequence[Enrollment], seconds: float = 4) -> float:
    """Save while nobody logs."""
    until = time.monotonic() + seconds
    save_until(lambda: time.monotonic() > until, saves, rows)
    return seconds


WAYS = {ENGINE: (OF_THE_ENGINE, 1), MANY: (OF_A_CALLER_WITH_MANY, 1), CALLS: (OF_A_CALLER, CALLERS)}


def measure(failures: int, rounds: int) -> tuple[dict[str, Sample], dict[str, Sample]]:
    """Give the seconds of each way's rounds, and those of the saves beside it."""
    measuring.crowd(PEOPLE)
    rows = list(Enrollment.objects.order_by("pk"))
    saves: dict[str, list[float]] = {name: [] for name in (QUIET, *WAYS)}
    ways: dict[str, Callable[[], object]] = {QUIET: partial(quiet, saves[QUIET], rows)}
    for name, (script, number) in WAYS.items():
        ways[name] = partial(logged, script, number, failures, saves[name], rows)
    samples = measuring.interleaved(ways, rounds=rounds)
    return samples, {name: Sample(name, tuple(found)) for name, found in saves.items()}


def main() -> int:
    """Measure on servers of our own and print the table; 1 when a figure is not reached."""
    given = measuring.arguments(__doc__, failures=FAILURES, rounds=ROUNDS)
    settings.DEBUG = False  # else every statement is kept
    with measuring.bench():
        samples, took = measure(given.failures, given.rounds)
        rates = {name: given.failures / samples[name].median for name in WAYS}
        lines = [
            (
                name, f"{rates[name]:,.0f}" if name in rates else "",
                " ".join(f"{one:.2f}" for one in samples[name].took),
                f"{one.median * 1000:.1f}", f"{one.p99 * 1000:.1f}", len(one.took),
            )
            for name, one in took.items()
        ]  # fmt: skip
        head = ("who logs", "failures/s", "seconds of each round", "a save: median ms", "p99 ms", "saves")
        print(measuring.table(head, lines) + "\n")
        print(f"{sum(waits)} waits for a lock in {len(waits)} looks, {fakes.sql(DEADLOCKS)[0][0]} deadlocks\n")
        what, bound = f"{given.failures:,} failures of one cause", took[QUIET].p99 + SLOWER_MS / 1000
        logging = [
            Figure(
                f"{what}, logged by {name}", f"≥ {REACH:,}/s, one cause", f"{rates[name]:,.0f}/s, 1 cause",
                is_reached=rates[name] >= REACH,
            )
            for name in WAYS
        ]  # fmt: skip
        saving = [
            Figure(
                f"users' p99 while they are logged by {name}", f"baseline + {SLOWER_MS} ms",
                f"{took[name].p99 * 1000:.1f} ms (baseline {took[QUIET].p99 * 1000:.1f} ms)",
                is_reached=took[name].p99 <= bound,
            )
            for name in WAYS
        ]  # fmt: skip
        return measuring.report(logging + saving)


if __name__ == "__main__":
    raise SystemExit(main())
