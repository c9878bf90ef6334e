"""What the safety net costs: a save, an unrelated column, 100,000 rows at once, a locked table, few people, its index."""

from tests import measuring  # isort: skip - first, because it sets Django up
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count

import psycopg
from django.conf import settings
from django.db import transaction

from interventions.models import Intervention
from sync import triggers
from tests import bench_drain, fakes
from tests.bench_write import bare_tables
from tests.concurrency.test_storm import silent
from tests.factories import therapists
from tests.measuring import Figure, Sample
from therapists.models import Enrollment, Profile, User

PEOPLE, WRITERS, HOT, WORKERS = 200, 8, 5, 2
NET, BARE = "public", "bare, public"
INDEXED = ("bench_with", "bench_without")
ROWS_OF_ONE_KIND = "SELECT n, n || '@example.org', repeat('Twelve years. ', 14), now() FROM generate_series(1, %s) AS n"
# A program of its own for each writer: eight threads of one Python would wait for each other and not for PostgreSQL.
WRITER = """
import psycopg, random, sys, time
url, path, is_double, seed, seconds, people = *sys.argv[1:3], sys.argv[3] == "two", int(sys.argv[4]), float(sys.argv[5]), sys.argv[6]
people, rnd, done, failed = [int(p) for p in people.split(",")], random.Random(seed), 0, []
writes = ("UPDATE users SET avatar_url = %s WHERE id = %s",
          "UPDATE therapist_enrollments SET profile_image_url = %s, bio = 'x' WHERE user_id = %s",
          "UPDATE therapist_profiles SET profile_image_url = %s WHERE user_id = %s")
with psycopg.connect(url, autocommit=True) as own:
    own.execute("SET search_path TO " + path)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if is_double:
                # One table for each writer, upward or downward: without any trigger nobody can deadlock.
                pair = sorted(rnd.sample(people, 2), reverse=seed % 3 == 1)
                with own.transaction():
                    for person in pair:
                        own.execute(writes[seed % 3], [f"/{seed}-{done}", person])
            else:
                own.execute(rnd.choice(writes), [f"/{seed}-{done}", rnd.choice(people)])
            done += 1
        except psycopg.Error as error:
            failed.append(error.sqlstate)
print(done, *failed)
"""


@dataclass
class Crowded:
    """What eight writers of a few people came to."""

    writes: float = 0
    failed: Counter[str] = field(default_factory=Counter)
    silent: int = 0
    watched: int = 0
    equal_after: float = 0


def saves(rounds: int) -> list[Figure]:
    """Save one row in two ways, and change a column that nobody repeats, with the net and without any trigger."""
    rows, number = list(Enrollment.objects.order_by("pk")[:PEOPLE]), count()
    ways: dict[str, Callable[[], object]] = {}
    for path in (NET, BARE):
        ways[f"read {path}"] = partial(
            _timed, path, lambda: _read_and_save(rows[next(number) % PEOPLE].pk, next(number))
        )
        ways[f"save {path}"] = partial(_timed, path, lambda: _save(rows[next(number) % PEOPLE], next(number)))
        ways[f"views {path}"] = partial(_timed, path, lambda: _look(rows[next(number) % PEOPLE].user_id or 0))
    took = measuring.interleaved(ways, rounds=rounds, warm_up=10)
    limits = (
        ("read", "lock, read and save(update_fields), with copies and debt ÷ bare", 1.25),
        ("save", "a bare save(), with copies and debt ÷ bare", 1.45),
        ("views", "a column that nobody repeats, net installed ÷ bare", 1.10),
    )
    return [_ratio(what, reach, took[f"{kind} {NET}"], took[f"{kind} {BARE}"]) for kind, what, reach in limits]


def held_table(rounds: int) -> Figure:
    """Save while somebody holds a copy's whole table, and while nobody does."""
    people, number = list(User.objects.order_by("pk")[:PEOPLE]), count()

    def write() -> None:
        user = people[next(number) % PEOPLE]
        User.objects.filter(pk=user.pk).update(avatar_url=f"/held/{next(number)}")

    def write_beside_a_lock() -> float:
        with fakes.locked_table("therapist_profiles"):
            return measuring.seconds(write)

    took = measuring.interleaved({"held": write_beside_a_lock, "free": write}, rounds=rounds, warm_up=3)
    waited = 1000 * (took["held"].median - took["free"].median)
    fakes.settled()
    return Figure("a copy's table is locked: the write waits longer by", "≤ 10 ms", f"{waited:.1f} ms", waited <= 10)


def many(rows: int, rounds: int) -> list[Figure]:
    """Change so many rows in one statement; then again with one that its copy refuses."""
    number = count()

    def update(path: str) -> float:
        return _timed(path, lambda: fakes.sql("UPDATE therapist_enrollments SET bio = %s", f"all {next(number)}"))

    took = measuring.interleaved({p: partial(update, p) for p in (NET, BARE)}, rounds=rounds)
    _settle_all()
    update(NET)
    with bench_drain.waiting(WORKERS) as workers:
        after = measuring.seconds(lambda: bench_drain.by_workers(workers))
    left = len(fakes.behind())
    bad = Enrollment.objects.exclude(user=None).order_by("pk")[rows // 2]
    with fakes.refusing("therapist_profiles", f"user_id <> {bad.user_id} OR bio LIKE 'all%'"):
        fakes.sql("UPDATE therapist_enrollments SET bio = 'next'")
        _settle_all()
        behind, items = fakes.behind(), Intervention.objects.filter(resolved=False).count()
    one = f"UPDATE of {rows:,} rows in one statement"
    return [
        _ratio(f"{one} ÷ without triggers", 3.5, took[NET], took[BARE]),
        Figure(f"{one}: all equal after, by {WORKERS} workers", "≤ 10 s", f"{after:.1f} s, {left} differ", after <= 10 and not left),
        Figure(
            f"{one}, one refused", "1 left, 1 item", f"{len(behind)} left, {items} items",
            (behind, items) == ({(bad.user_id, "therapist_profiles")}, 1),
        ),
    ]  # fmt: skip


def hot(seconds: float, rounds: int) -> list[Figure]:
    """Let eight programs write five people, in turns with every layer of the net and without any trigger."""
    people = list(User.objects.order_by("pk").values_list("pk", flat=True)[:HOT])
    figures = []
    for kind in ("one", "two"):
        found = {name: Crowded() for name in ("bare", "on", "off")}
        for _ in range(rounds):
            for name, crowded in found.items():
                with _copying(is_on=name != "off"):
                    _crowd(crowded, kind, BARE if name == "bare" else NET, people, seconds)
        for name, reach in (("on", 0.25), ("off", 0.5)):
            ratio = found[name].writes / found["bare"].writes
            figures += [
                Figure(
                    f"{WRITERS} writers, {HOT} people, {kind} statement(s), copying {name}: throughput ÷ bare",
                    f"≥ {reach}", f"{ratio:.2f} ({found[name].writes / rounds / seconds:,.0f}/s)", ratio >= reach,
                ),
                _kept(found[name], kind, name),
            ]  # fmt: skip
    return figures


def numbered(rows: int, rounds: int, bulk_rounds: int) -> list[Figure]:
    """Number writes of two equal tables, one with the index that finds what was written since, one without."""
    for name in INDEXED:
        fakes.sql(f"CREATE TABLE {name} (LIKE therapist_enrollments INCLUDING ALL)")
        # One order for both, and every row there: an update that misses is quicker than any index.
        fakes.sql(f"INSERT INTO {name} (user_id, email, bio, updated_at) {ROWS_OF_ONE_KIND}", rows)
    for (index,) in fakes.sql(
        "SELECT indexname FROM pg_indexes WHERE tablename = %s AND indexdef LIKE '%%brin%%'", INDEXED[1]
    ):
        fakes.sql(f"DROP INDEX {index}")
    fakes.sql(f"VACUUM ANALYZE {', '.join(INDEXED)}")
    number = count()

    def save(name: str) -> float:
        row = random.Random(next(number) // 4).randrange(rows) + 1
        statement = f"UPDATE {name} SET bio = %s, revision = nextval('sync_revision') WHERE user_id = %s RETURNING id"
        started = time.perf_counter()
        assert fakes.sql(statement, f"Bench {next(number)}", row)
        return time.perf_counter() - started

    def update(name: str) -> float:
        statement = f"UPDATE {name} SET bio = %s, revision = nextval('sync_revision') WHERE user_id <= 100000"
        took = measuring.seconds(lambda: fakes.sql(statement, f"all {next(number)}"))
        fakes.sql(f"VACUUM {name}")
        return took

    saved = measuring.interleaved({name: partial(save, name) for name in INDEXED}, rounds=rounds, warm_up=50)
    fakes.sql("SELECT pg_stat_force_next_flush()")
    hot = [_heap_only(name) for name in INDEXED]
    many = measuring.interleaved({name: partial(update, name) for name in INDEXED}, rounds=bulk_rounds)
    fakes.sql(f"DROP TABLE {', '.join(INDEXED)}")
    what = f"{{}} of {rows:,} rows, with the index of what was written ÷ without"
    return [
        _ratio(what.format("UPDATE of one"), 1.05, *(saved[name] for name in INDEXED)),
        Figure("the same, heap-only with ÷ without", "± 3 %", f"{hot[0]:.0%} ÷ {hot[1]:.0%}", abs(hot[0] - hot[1]) <= 0.03),
        _ratio(what.format(f"UPDATE of {min(rows, 100_000):,}"), 1.15, *(many[name] for name in INDEXED)),
    ]  # fmt: skip


def _heap_only(name: str) -> float:
    (found,) = fakes.sql("SELECT n_tup_hot_upd, n_tup_upd FROM pg_stat_user_tables WHERE relname = %s", name)
    return float(found[0] / found[1])


def _kept(found: Crowded, kind: str, name: str) -> Figure:
    said = (
        f"{sum(found.failed.values())} aborted {dict(found.failed) or ''}, {found.silent} silent in {found.watched}"
        f" snapshots, equal after {found.equal_after:.2f} s"
    )
    is_kept = not found.failed and not found.silent and found.watched > 0 and found.equal_after <= 1
    return Figure(
        f"the same, {kind} statement(s), copying {name}: promises", "0 aborted, 0 silent, ≤ 1 s", said, is_kept
    )


def _crowd(found: Crowded, kind: str, path: str, people: list[int], seconds: float) -> None:
    names = ",".join(map(str, people))
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, fakes.database_url(), path, kind, str(seed), str(seconds), names],
            stdout=subprocess.PIPE, text=True,
        )
        for seed in range(WRITERS)
    ]  # fmt: skip
    is_over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(found, is_over))
    if path == NET:
        watcher.start()
    for program in running:
        done, *failed = program.communicate()[0].split()
        found.writes += int(done)
        found.failed.update(failed)
    is_over.set()
    if path == NET:
        watcher.join()
        found.equal_after = max(found.equal_after, measuring.seconds(_settle_all))
        found.silent += len(fakes.behind())


def _watch(found: Crowded, is_over: threading.Event) -> None:
    with psycopg.connect(fakes.database_url(), autocommit=True) as own:
        own.execute("SET default_transaction_isolation = 'repeatable read'")
        while not is_over.wait(0.05):
            found.silent += own.execute(silent()).rowcount
            found.watched += 1


@contextmanager
def _copying(*, is_on: bool) -> Iterator[None]:
    if is_on:
        yield
        return
    triggers.disable()
    try:
        yield
    finally:
        triggers.enable()


def _ratio(what: str, reach: float, mine: Sample, bare: Sample) -> Figure:
    ratio = mine.ratio_to(bare)
    said = f"{ratio:.2f} ({1000 * mine.median:.2f} ms ÷ {1000 * bare.median:.2f} ms)"
    return Figure(what, f"≤ {reach:.2f}", said, ratio <= reach)


def _timed(path: str, write: Callable[[], object]) -> float:
    fakes.sql(f"SET search_path TO {path}")
    try:
        return measuring.seconds(write)
    finally:
        fakes.sql("SET search_path TO public")


def _read_and_save(pk: int, number: int) -> None:
    with transaction.atomic():
        row = Enrollment.objects.select_for_update(no_key=True).get(pk=pk)
        row.bio = f"read {number}"
        row.save(update_fields=["bio"])


def _save(row: Enrollment, number: int) -> None:
    row.bio = f"saved {number}"
    row.save()


def _look(person: int) -> None:
    Profile.objects.filter(user_id=person).update(views=1)


def _settle_all() -> None:
    fakes.settled(rounds=400)


def main() -> int:
    """Measure on servers of our own and print the figures; 1 when one is not reached. No rounds of a part leave it out."""
    chosen = measuring.arguments(
        __doc__, rounds=600, rows=100_000, bulk_rounds=3, hot_seconds=3, hot_rounds=2, index_rounds=1000
    )
    settings.SYNC_RECEIVERS = False
    figures: list[Figure] = []
    with measuring.bench():
        therapists(PEOPLE)
        with bare_tables():
            if chosen.rounds:
                figures += saves(chosen.rounds)
            if chosen.hot_rounds:
                figures += hot(chosen.hot_seconds, chosen.hot_rounds)
        if chosen.rounds:
            figures.append(held_table(min(chosen.rounds, 100)))
        for rows in (2_000, 250_000) if chosen.index_rounds else ():
            figures += numbered(rows, chosen.index_rounds, chosen.bulk_rounds or 1)
        if chosen.bulk_rounds:
            measuring.crowd(chosen.rows - PEOPLE)
            with bare_tables():
                figures += many(chosen.rows, chosen.bulk_rounds)
        return measuring.report(figures)


if __name__ == "__main__":
    raise SystemExit(main())
