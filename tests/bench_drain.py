"""How fast owed table copies are brought in line: clean, with poison among them, by one worker and by two."""

from tests import measuring  # isort: skip - first, because it sets Django up
import argparse
import cProfile
import os
import pstats
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from config.embedded import postgres
from interventions.models import History, Intervention
from sync import delivery
from sync.models import Attempt, Debt, Ledger
from tests import fakes
from tests.measuring import Figure, Sample

OWED, ROUNDS, REACH = 50_000, 3, 12_000
POISON, POISON_EVERY = "poison", 100
LIMIT, CLEAN, POISONED = "one set-based UPDATE", "clean", "1 % poison"
TWO_CLEAN, TWO_POISONED = "two workers, clean", "two workers, 1 % poison"
LIMIT_UPDATE = (
    "UPDATE therapist_profiles p SET bio = e.bio, net_revision = p.net_revision + 1 FROM therapist_enrollments e"
    " WHERE e.user_id = p.user_id AND p.bio IS DISTINCT FROM e.bio"
)
WORKER = """
import django
django.setup()
from django.conf import settings
from django.db import connection
settings.DEBUG = False
from sync import delivery
from sync.models import Debt
connection.ensure_connection()
print("ready", flush=True)
input()
while Debt.objects.exists():
    delivery.drain()
"""


@contextmanager
def poisonous() -> Iterator[None]:
    """Let the profiles refuse one text."""
    with fakes.refusing("therapist_profiles", f"bio IS DISTINCT FROM '{POISON}'"):
        yield


def owe_everybody(*, poison: bool) -> None:
    """Put every profile's bio behind, with the debt row that the net writes while it does not copy; some stay behind."""
    with fakes.asleep():
        for model in (Debt, Ledger, Attempt, Intervention, History):
            model.objects.all().delete()
        fakes.sql(
            "UPDATE therapist_enrollments SET bio = CASE WHEN %s AND user_id %% %s = 0 THEN %s"
            " ELSE md5(random()::text) || repeat(%s, 5) END",
            poison, POISON_EVERY, POISON, measuring.BIO,
        )  # fmt: skip
    fakes.sql(
        "INSERT INTO sync_debt (person_id, targets, revision, code)"
        " SELECT user_id, '{therapist_profiles}', nextval('sync_revision'), 'uncopied' FROM therapist_enrollments ORDER BY user_id"
    )
    fakes.sql("VACUUM ANALYZE therapist_enrollments, therapist_profiles, sync_debt, sync_ledger")
    fakes.sql("CHECKPOINT")


def drained(*, poison: bool, drain: Callable[[], None]) -> float:
    """Owe everybody, drain until no debt is left, and look that exactly the poison is behind, each as one item."""
    owe_everybody(poison=poison)
    spent = measuring.seconds(drain)
    wanted = set(fakes.sql("SELECT user_id FROM therapist_enrollments WHERE bio = %s", POISON))
    assert {(person,) for person, _ in fakes.behind()} == wanted
    items = Intervention.objects.filter(resolved=False)
    assert items.count() == len(wanted), f"{items.count()} items for {len(wanted)} poison rows"
    assert items.values("cause").distinct().count() == int(bool(wanted)), "one cause"
    assert not Debt.objects.exists()
    return spent


def by_one() -> None:
    """Drain in this process."""
    while Debt.objects.exists():
        delivery.drain()


def by_workers(ready: "list[subprocess.Popen[str]]") -> None:
    """Let workers that wait for the word drain at once."""
    for worker in ready:
        assert worker.stdin
        worker.stdin.write("go\n")
        worker.stdin.flush()
    assert [worker.wait(300) for worker in ready] == [0] * len(ready)


@contextmanager
def waiting(count: int) -> "Iterator[list[subprocess.Popen[str]]]":
    """Start so many workers that wait for the word of `by_workers`, so that their start does not count."""
    environment = os.environ | {"DATABASE_URL": fakes.database_url()}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER], env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(count)
    ]
    try:
        for worker in workers:
            assert worker.stdout
            assert worker.stdout.readline() == "ready\n"
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def drained_by(count: int, *, poison: bool) -> float:
    """Drain by so many processes; their start does not count."""
    with waiting(count) as workers:
        return drained(poison=poison, drain=partial(by_workers, workers))


def limit() -> float:
    """Write what is owed in one statement that is unsafe beside writers, as the fastest that PostgreSQL can."""
    owe_everybody(poison=False)
    spent = measuring.seconds(partial(fakes.sql, LIMIT_UPDATE))
    assert fakes.behind() == set()
    return spent


def measure(rounds: int, *, two: bool = True) -> dict[str, Sample]:
    """Drain what a crowd that is there already is owed, in every way, round after round; seconds."""
    ways: dict[str, Callable[[], object]] = {
        LIMIT: limit,
        CLEAN: partial(drained, poison=False, drain=by_one),
        POISONED: partial(drained, poison=True, drain=by_one),
    }
    if two:
        ways |= {
            TWO_CLEAN: partial(drained_by, 2, poison=False),
            TWO_POISONED: partial(drained_by, 2, poison=True),
        }
    with poisonous():
        return measuring.interleaved(ways, rounds=rounds)


def rows(samples: dict[str, Sample], owed: int) -> list[tuple[str, ...]]:
    """Give a line for each way: rate, how much slower than the limit, seconds of every round."""
    return [
        (
            sample.name, f"{owed / sample.median:,.0f}", f"{sample.ratio_to(samples[LIMIT]):.1f}",
            " ".join(f"{took:.2f}" for took in sample.took),
        )
        for sample in samples.values()
    ]  # fmt: skip


def profile() -> None:
    """Drain once with poison, and say where the time goes: in Python, and statement by statement in PostgreSQL."""
    fakes.sql("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    owe_everybody(poison=True)
    profiler = cProfile.Profile()
    fakes.sql("SELECT pg_stat_statements_reset()")
    with poisonous():
        spent = measuring.seconds(partial(profiler.runcall, by_one))
    print(f"{spent:.2f} s under the profiler\n")
    found = fakes.sql(
        "SELECT round(total_exec_time), calls, rows, toplevel, left(regexp_replace(query, '\\s+', ' ', 'g'), 110)"
        " FROM pg_stat_statements WHERE total_exec_time > 5 ORDER BY total_exec_time DESC LIMIT 30"
    )
    print(measuring.table(("ms", "calls", "rows", "asked for by us", "statement"), found) + "\n")
    pstats.Stats(profiler).sort_stats("cumulative").print_stats(40)


def main() -> int:
    """Measure on servers of our own and print the table; 1 when the rate with poison is not reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--owed", type=int, default=OWED)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--profile", action="store_true", help="say where the time goes instead of comparing")
    given = parser.parse_args()
    if given.profile:
        postgres.SETTINGS.update({"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track": "all"})
    with measuring.bench():
        measuring.crowd(given.owed)
        if given.profile:
            profile()
            return 0
        samples = measure(given.rounds)
        head = ("way", "copies/s", "x the limit's time", "seconds of each round")
        print(measuring.table(head, rows(samples, given.owed)) + "\n")
        rates = {name: given.owed / sample.median for name, sample in samples.items()}
        measured = (
            f"{rates[POISONED]:,.0f}/s ({rates[CLEAN]:,.0f}/s clean); {given.owed // POISON_EVERY} items, 1 cause"
        )
        what = f"drain of {given.owed:,} owed table copies with 1 % poison"
        reach = f"≥ {REACH:,}/s; {given.owed // POISON_EVERY} items, 1 cause"
        return measuring.report([Figure(what, reach, measured, is_reached=rates[POISONED] >= REACH)])


if __name__ == "__main__":
    raise SystemExit(main())
