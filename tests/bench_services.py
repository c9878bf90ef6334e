"""What people's writes take while every outside service is down, and how soon all services know everything afterwards."""

from tests import measuring  # isort: skip - first, because it sets Django up
import json
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench_resilience import Therapist
from tests.fakes import Connection
from tests.measuring import Figure, Sample
from tests.processes import Copy, until
from tests.stand_ins import control
from tests.stand_ins.control import Control
from tests.stand_ins.listing import SECRET

CROWD, CALM_SECONDS, OUTAGE_SECONDS, DELAYS = 200, 20, 60, 10
WRITES_A_SECOND, CROWD_A_SECOND = 24, 20
EXTRA_MS, GOOD_PERCENT, DRAINED_SECONDS, DELAY_RATIO = 50, 99.99, 60, 1.5
LISTING, ANALYTICS = "listing", "analytics"
# One that never answers, and one that says at once that it cannot.
DOWN: dict[str, dict[str, Any]] = {LISTING: {"do": "hang"}, ANALYTICS: {"do": "status", "status": 503}}
OWED = "SELECT count(*) FROM contract_sync_state WHERE target = ANY(%s) AND owed_since IS NOT NULL"
CAUSES = """
SELECT coalesce(max(causes), 0) FROM (
    SELECT count(DISTINCT cause) AS causes FROM contract_interventions WHERE NOT resolved AND target = ANY(%s)
    GROUP BY target) AS each
"""
EDIT = """
UPDATE therapist_enrollments SET bio = 'Edited ' || clock_timestamp()::text
WHERE id = (SELECT id FROM therapist_enrollments WHERE email LIKE 'crowd%' ORDER BY random() LIMIT 1)
"""


@dataclass
class Outcome:
    """What one outage was for people and for the services."""

    before: Sample
    beside: Sample
    failed: list[int]
    most_causes: int
    drained_seconds: float
    # Who the directory shows with another text than the one that was saved last.
    wrong: int
    # Keys under which a service took effect more than once.
    twice: int
    # From a save until another service has been told of it, while all is well and while the directory is down.
    told: Sample
    told_beside: Sample


@dataclass
class Traffic:
    """People who save over HTTP at a steady pace, and a program that writes SQL."""

    people: Sequence[Therapist]
    own: Connection
    took: list[float] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)

    @contextmanager
    def flowing(self) -> Iterator["Traffic"]:
        """Let everybody write until the block ends; what it took is in `took` then."""
        is_over = threading.Event()
        pace = len(self.people) / WRITES_A_SECOND
        threads = [threading.Thread(target=self._save, args=(one, pace, is_over)) for one in self.people]
        threads.append(threading.Thread(target=self._edit, args=(is_over,)))
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            is_over.set()
            for thread in threads:
                thread.join()

    def _save(self, person: Therapist, pace: float, is_over: threading.Event) -> None:
        planned = time.monotonic()
        while not is_over.is_set():
            self.took += person.timed(1, self.failed)
            # By a plan, so that a write that was slow does not thin out those after it.
            planned += pace
            is_over.wait(max(0.0, planned - time.monotonic()))

    def _edit(self, is_over: threading.Event) -> None:
        while not is_over.wait(1 / CROWD_A_SECOND):
            self.own.execute(EDIT)

    def drained(self) -> tuple[Sample, list[int]]:
        """Give what was measured since the last time."""
        taken, failed, self.took, self.failed = self.took, self.failed, [], []
        return Sample("writes", tuple(taken)), failed


@dataclass
class Bench:
    """A whole copy of Keepwell and the services that it tells."""

    own: Connection
    traffic: Traffic
    services: dict[str, Control]

    def owed(self) -> int:
        """How many persons' facts some service does not know yet."""
        return self._one(OWED, list(self.services))

    def _one(self, statement: str, *words: object) -> int:
        found = self.own.execute(statement, words or None).fetchone()
        return int(found[0]) if found else 0

    def outage(self, calm: float, outage: float) -> tuple[Sample, Sample, list[int], int, float]:
        """Let people write while all is well, then while every service is down; then wait until all is told."""
        with self.traffic.flowing():
            time.sleep(calm)
        before, failed_before = self.traffic.drained()
        until(lambda: not self.owed(), seconds=120, what="Services that know everything")
        for name, script in DOWN.items():
            self.services[name].follow(script)
        most_causes, ends = 0, time.monotonic() + outage
        with self.traffic.flowing():
            while time.monotonic() < ends:
                most_causes = max(most_causes, self._one(CAUSES, list(self.services)))
                time.sleep(0.5)
        beside, failed = self.traffic.drained()
        assert self.owed(), "nothing was owed: the services were not down"
        for service in self.services.values():
            service.follow()
        back = time.monotonic()
        until(lambda: not self.owed(), seconds=900, what="Services that know everything again")
        return before, beside, failed_before + failed, most_causes, time.monotonic() - back

    def told(self, name: str, times: int) -> Sample:
        """Save so often, and give the seconds until the analytics have been told of each."""
        took, (person, *_) = [], self.traffic.people
        for _ in range(times):
            self.services[ANALYTICS].forget()
            person.hang_up()
            started = time.monotonic()
            assert person.is_served()
            until(lambda: bool(self.services[ANALYTICS].effects), seconds=60, what="A call")
            took.append(time.monotonic() - started)
        return Sample(name, tuple(took))

    def wrong(self) -> int:
        """Count those whom the directory shows with another text than theirs."""
        shown: dict[int, tuple[int, str]] = {}
        for effect in self.services[LISTING].effects:
            data = json.loads(effect["body"])["data"]
            latest = (data["revision"], (data.get("profile") or {}).get("bio", ""))
            shown[data["id"]] = max(shown.get(data["id"], (0, "")), latest)
        rows = self.own.execute("SELECT user_id, bio FROM therapist_enrollments WHERE user_id = ANY(%s)", [list(shown)])
        return sum(shown[person][1] != bio for person, bio in rows.fetchall())

    def twice(self) -> int:
        """Count keys under which a service took effect more than once."""
        keys = [[effect["key"] for effect in service.effects] for service in self.services.values()]
        return sum(len(each) - len(set(each)) for each in keys)


@contextmanager
def started(crowd: int, probe: int, probe_cap: int) -> Iterator[Bench]:
    """Start the services and a copy that is configured to tell them, and wait until they know everybody."""
    with tempfile.TemporaryDirectory(prefix="keepwell-bench-") as folder, ExitStack() as stack:
        Path(folder).chmod(0o755)
        names = (LISTING, ANALYTICS)
        services = dict(zip(names, stack.enter_context(control.started(*names)), strict=True))
        copy = Copy(Path(folder) / "var", settings={
            "LISTING_URL": services[LISTING].address, "LISTING_SECRET": SECRET,
            "ANALYTICS_URL": services[ANALYTICS].address, "SYNC_PRIVATE_ADDRESSES": "1",
            "SYNC_BREAKER_PROBE_SECONDS": str(probe), "SYNC_BREAKER_PROBE_CAP_SECONDS": str(probe_cap),
            "LOG_LEVEL": "WARNING",
        })  # fmt: skip
        stack.callback(copy.clean_up)
        copy.start()
        seeded = json.loads(copy.manage("seed_acceptance"))
        own = stack.enter_context(measuring.crowded(copy.database_url, crowd))
        # The crowd came past every trigger; an edit of each is what makes it known.
        own.execute("UPDATE therapist_enrollments SET bio = 'Known.' WHERE email LIKE 'crowd%'")
        people = [Therapist(copy.port, seeded[name]["headers"]) for name in ("ada", "ben")]
        for person in people:
            stack.callback(person.hang_up)
            until(person.is_served, seconds=60, what="A first write")
        bench = Bench(own, Traffic(people, own), services)
        until(lambda: not bench.owed(), seconds=300, what="Services that know everybody")
        yield bench


def measure(*, crowd: int, calm: float, outage: float, delays: int, probe: int, probe_cap: int) -> Outcome:
    """Run a copy through an outage of every service, and then of the directory alone."""
    with started(crowd, probe, probe_cap) as bench:
        before, beside, failed, most_causes, drained = bench.outage(calm, outage)
        wrong, twice = bench.wrong(), bench.twice()
        told = bench.told("told", delays)
        bench.services[LISTING].follow(DOWN[LISTING])
        told_beside = bench.told("told while the directory is down", delays)
        bench.services[LISTING].follow()
    return Outcome(before, beside, failed, most_causes, drained, wrong, twice, told, told_beside)


def figures(found: Outcome, outage: float) -> list[Figure]:
    """Give the lines of the page."""
    asked = len(found.before.took) + len(found.beside.took)
    good = 100 * (1 - len(found.failed) / asked)
    p99, base = found.beside.p99 * 1000, found.before.p99 * 1000
    rate = len(found.beside.took) / outage
    ratio = found.told_beside.median / found.told.median
    return [
        Figure(f"every service down for {outage:.0f} s: writes that are saved", f"≥ {GOOD_PERCENT} %",
               f"{good:.2f} % of {asked}, {rate:.0f} a second", good >= GOOD_PERCENT and rate >= 20),
        Figure("user write p99 meanwhile, ms", f"≤ {base:.0f} + {EXTRA_MS}", f"{p99:.0f}", p99 <= base + EXTRA_MS),
        Figure("causes of one service at once", "1", f"{found.most_causes}", found.most_causes == 1),
        Figure("all told after they return", f"≤ {DRAINED_SECONDS} s; nothing lost, nothing twice",
               f"{found.drained_seconds:.0f} s; shown wrongly {found.wrong}, twice {found.twice}",
               found.drained_seconds <= DRAINED_SECONDS and not found.wrong and not found.twice),
        Figure("another service is told while the directory hangs, times all well", f"≤ {DELAY_RATIO} x",
               f"{ratio:.2f} x ({found.told.median * 1000:.0f} ms)", ratio <= DELAY_RATIO),
    ]  # fmt: skip


def main() -> int:
    """Measure on a copy of our own and print the table; 1 when a figure is not reached."""
    given = measuring.arguments(
        __doc__, crowd=CROWD, calm=CALM_SECONDS, outage=OUTAGE_SECONDS, delays=DELAYS, probe=60, probe_cap=60
    )
    found = measure(**vars(given))
    with measuring.bench():
        return measuring.report(figures(found, given.outage))


if __name__ == "__main__":
    raise SystemExit(main())
