"""A bulk retry of 10,000 after what was in the way is gone, beside people who write, and workers that are killed."""

from tests import measuring  # isort: skip - first, because it sets Django up
import http.client
import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from tests.bench_resilience import Therapist, tree
from tests.fakes import Connection
from tests.measuring import Figure, Sample
from tests.processes import Copy, until

ITEMS, KILLS, WRITES = 10_000, 3, 200
REACH_SECONDS, EXTRA_MS = 120, 50
TARGET = "therapist_profiles"
# What is in the way goes without a change of any table's shape: that would be a reason to try again by itself.
OBSTACLE = f"""
CREATE TABLE obstacle AS SELECT true AS stands;
CREATE FUNCTION obstructed() RETURNS boolean LANGUAGE sql VOLATILE AS 'SELECT EXISTS (SELECT FROM obstacle)';
ALTER TABLE {TARGET} ADD CONSTRAINT refused_on_purpose CHECK (bio NOT LIKE 'Edited%' OR NOT obstructed()) NOT VALID
"""
_NOT_ONCE = """
SELECT count(*) FROM intervention_retry_run_item AS part
WHERE part.run_id = %(run)s AND (
    (SELECT count(*) FROM intervention_history WHERE object_type = 'intervention' AND object_id = part.item_id::text
       AND action = 'retry' AND run_id = %(run)s) <> (part.outcome IN ('fixed', 'failed'))::int
    OR (SELECT count(*) FROM intervention_history WHERE object_type = 'intervention'
       AND object_id = part.item_id::text AND action LIKE 'resolved%%') <> 1)
"""
_BEHIND = f"""
SELECT count(*) FROM {TARGET} p JOIN therapist_enrollments e USING (user_id) WHERE p.bio IS DISTINCT FROM e.bio
"""


@dataclass
class Outcome:
    """What came of one bulk retry."""

    seconds: float
    counts: dict[str, int]
    total: int
    kills: int
    not_once: int
    behind: int
    still_open: int
    before: Sample
    beside: Sample


@dataclass
class Desk:
    """Staff and a therapist before a copy of Keepwell."""

    copy: Copy
    own: Connection
    staff: dict[str, str]
    ada: Therapist

    def asked(self, method: str, address: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the API as staff; raises AssertionError where it refuses."""
        wire = http.client.HTTPConnection("127.0.0.1", self.copy.port, timeout=60)
        headers = self.staff | {"Content-Type": "application/json"}
        wire.request(method, address, json.dumps(body) if body is not None else None, headers)
        answer = wire.getresponse()
        told = answer.read()
        wire.close()
        assert answer.status < 300, f"{method} {address}: {answer.status} {told[:300]!r}"
        return dict(json.loads(told))

    def open_items(self, number: int) -> None:
        """Let the edits of so many people be refused by their profiles, each until it is an item."""
        self.own.execute(OBSTACLE)
        self.own.execute("UPDATE therapist_enrollments SET bio = 'Edited.' WHERE email LIKE 'crowd%'")
        until(lambda: self._open() == number, seconds=300, what=f"{number} items")

    def _open(self) -> int:
        found = self.own.execute("SELECT count(*) FROM manual_intervention_log WHERE NOT resolved").fetchone()
        return int(found[0]) if found else 0

    def kill_worker(self) -> None:
        """End the worker and everything that it started as by `kill -9`."""
        until(lambda: self.copy.pid("worker") is not None, seconds=60, what="A worker")
        for pid in tree(self.copy.pid("worker") or 0):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def one(self, statement: str, words: dict[str, Any] | None = None) -> int:
        """Give the one number that a statement answers with."""
        found = self.own.execute(statement, words).fetchone()
        return int(found[0]) if found else 0

    def retried(self, number: int, kills: int) -> Outcome:
        """Retry everything of the target, kill the worker so often on the way, and count what came of each item."""
        before = self.ada.timed(WRITES)
        self.own.execute("DELETE FROM obstacle")
        started = time.monotonic()
        run = self.asked("POST", "/api/v1/runs/", {"target": TARGET})
        at = [number * (n + 1) // (kills + 1) for n in range(kills)]
        with self._writing() as beside:
            while True:
                run = self.asked("GET", f"/api/v1/runs/{run['id']}/")
                if run["state"] in {"done", "stopped", "cancelled"}:
                    break
                if at and run["counts"].get("fixed", 0) >= at[0]:
                    at.pop(0)
                    self.kill_worker()
                assert time.monotonic() - started < 600, run
                time.sleep(0.1)  # as a page looks again; asking without a pause would be a load of its own
        return Outcome(
            seconds=time.monotonic() - started, counts=run["counts"], total=run["total"], kills=kills - len(at),
            not_once=self.one(_NOT_ONCE, {"run": run["id"]}), behind=self.one(_BEHIND), still_open=self._open(),
            before=Sample("before", tuple(before)), beside=Sample("beside", tuple(beside)),
        )  # fmt: skip

    @contextmanager
    def _writing(self) -> Iterator[list[float]]:
        took, is_over = list[float](), threading.Event()

        def write() -> None:
            while not is_over.is_set():
                took.extend(self.ada.timed(1))
                is_over.wait(0.05)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            yield took
        finally:
            is_over.set()
            writer.join()


def measure(number: int, kills: int, per_second: int) -> Outcome:
    """Run a whole copy of Keepwell through it, at so many retries a second."""
    with tempfile.TemporaryDirectory(prefix="keepwell-bench-") as folder, ExitStack() as stack:
        Path(folder).chmod(0o755)
        copy = Copy(Path(folder) / "var", settings={"RETRY_RUN_PER_SECOND": str(per_second)})
        stack.callback(copy.clean_up)
        copy.start()
        seeded = json.loads(copy.manage("seed_acceptance"))
        own = stack.enter_context(measuring.crowded(copy.database_url, number))
        ada = Therapist(copy.port, seeded["ada"]["headers"])
        stack.callback(ada.hang_up)
        desk = Desk(copy, own, seeded["sam"]["headers"], ada)
        until(ada.is_served, seconds=60, what="A first write")
        desk.open_items(number)
        return desk.retried(number, kills)


def figures(found: Outcome) -> list[Figure]:
    """Give the lines of the page."""
    counts = ", ".join(f"{name} {count:,}" for name, count in sorted(found.counts.items()) if count)
    is_exact = found.total == sum(found.counts.values()) and not (found.not_once or found.behind or found.still_open)
    p99, base = found.beside.p99 * 1000, found.before.p99 * 1000
    return [
        Figure(f"bulk retry of {found.total:,}, {found.kills} workers killed", f"≤ {REACH_SECONDS} s",
               f"{found.seconds:.0f} s", found.seconds <= REACH_SECONDS),
        Figure("its report adds up, nothing twice, nothing forgotten", "exactly",
               f"{counts}; twice or never {found.not_once}, behind {found.behind}, open {found.still_open}", is_exact),
        Figure("user write p99 beside it, ms", f"≤ {base:.0f} + {EXTRA_MS}", f"{p99:.0f}", p99 <= base + EXTRA_MS),
    ]  # fmt: skip


def main() -> int:
    """Measure on a copy of our own and print the table; 1 when a figure is not reached."""
    given = measuring.arguments(__doc__, items=ITEMS, kills=KILLS, per_second=settings.RETRY_RUN_PER_SECOND)
    found = measure(given.items, given.kills, given.per_second)
    with measuring.bench():
        return measuring.report(figures(found))


if __name__ == "__main__":
    raise SystemExit(main())
