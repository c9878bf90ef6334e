"""What a person's write takes while something is frozen, locked or unreachable, and how soon things go on after an outage."""

from tests import measuring  # isort: skip - first, because it sets Django up
import argparse
import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from config.embedded.running import database_answers, redis_answers
from tests.fakes import Connection
from tests.measuring import Figure, Sample
from tests.processes import PROJECT, Copy, free_ports, until

ROUNDS, WRITES, OUTAGE_SECONDS, TIMES = 8, 40, 10.0, 3
EXTRA_MS, BACK_SECONDS, RETAKEN_SECONDS, ERRORS_PERCENT = 50, 5, 30, 0.5
ME = "/api/v1/therapists/me/"
BASELINE, LOCKED, FROZEN = "nothing is wrong", "a copy table locked", "Redis frozen"
FROZEN_LOCKED, HOLE, HOLE_LOCKED = "Redis frozen and a copy table locked", "Redis a black hole", "both, a black hole"
DATABASE_BACK, REDIS_BACK, RETAKEN = "PostgreSQL back", "Redis back", "worker killed"
# Sleeps with the row locked, as long as somebody says so: a worker in the middle of its batch.
SLOW = """
CREATE TABLE slow_on_purpose (seconds float);
CREATE FUNCTION sleep_on_purpose() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM pg_sleep(seconds) FROM slow_on_purpose; RETURN NEW; END $$;
CREATE TRIGGER sleep_on_purpose BEFORE UPDATE ON therapist_profiles FOR EACH ROW EXECUTE FUNCTION sleep_on_purpose()
"""
ASLEEP = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"


Trouble = Callable[[], AbstractContextManager[None]]


@dataclass
class Therapist:
    """A person who saves their profile over HTTP, on one connection."""

    port: int
    headers: dict[str, str]
    number: int = 0
    acknowledged: int = 0
    wire: http.client.HTTPConnection | None = None

    def write(self) -> int:
        """Save a new text; give the status, 0 where nobody answers."""
        self.number += 1
        self.wire = self.wire or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        body = json.dumps({"bio": f"Text {self.number}"})
        try:
            self.wire.request("PATCH", ME, body, self.headers | {"Content-Type": "application/json"})
            answer = self.wire.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self.hang_up()
            return 0
        if answer.status == 200:
            self.acknowledged = self.number
        return answer.status

    def is_served(self) -> bool:
        """Save, and tell whether that was well answered."""
        return self.write() == 200

    def hang_up(self) -> None:
        """End the connection."""
        if self.wire:
            self.wire.close()
        self.wire = None

    def timed(self, writes: int, failed: list[int] | None = None) -> list[float]:
        """Save so often; give the seconds of each. Each must succeed, unless there is a list for what did not."""
        took = []
        self.hang_up()  # the web ends a connection that was idle for long
        for _ in range(writes):
            started = time.perf_counter()
            status = self.write()
            took.append(time.perf_counter() - started)
            if status != 200:
                assert failed is not None, f"a write was answered with {status}"
                failed.append(status)
        return took


@dataclass
class Answers:
    """How often a person saved while something was wrong, what was no 200, and what was lost of what was."""

    asked: int = 0
    failed: list[int] = field(default_factory=list)
    outages: int = 0
    lost: int = 0


@dataclass
class Bench:
    """A whole copy of Keepwell, a web process beside it whose Redis is a black hole, and a therapist at each."""

    copy: Copy
    stack: ExitStack
    ada: Therapist = field(init=False)
    ada_beside: Therapist = field(init=False)
    person: int = field(init=False)
    answers: Answers = field(default_factory=Answers)

    def start(self) -> None:
        """Start every process and sign in."""
        self.copy.start()
        seeded = json.loads(self.copy.manage("seed_acceptance"))["ada"]
        self.person = seeded["id"]
        self.ada = Therapist(self.copy.port, seeded["headers"])
        port = free_ports()
        self._start_web_beside(port, self.stack.enter_context(black_hole()))
        self.ada_beside = Therapist(port, seeded["headers"])
        for ada in (self.ada, self.ada_beside):
            self.stack.callback(ada.hang_up)
            until(ada.is_served, seconds=60, what="A first write")

    def _start_web_beside(self, port: int, redis_port: int) -> None:
        beside = Copy(self.copy.var_dir.with_name("beside"), port=port)
        command, environment = beside.command("--only", "web")
        secret = (self.copy.var_dir / "secret_key").read_text()
        environment |= {"DATABASE_URL": self.copy.database_url, "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0"}
        with beside.output.open("wb") as output:
            web = subprocess.Popen(
                command, env=environment | {"SECRET_KEY": secret}, stdout=output, stderr=output, cwd=PROJECT
            )
        self.stack.callback(web.wait)
        self.stack.callback(web.terminate)

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """Give a session on the copy's database."""
        with psycopg.connect(self.copy.database_url, autocommit=True) as own:
            yield own

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let somebody hold a copy table."""
        with psycopg.connect(self.copy.database_url) as own:
            own.execute("LOCK TABLE therapist_profiles IN ACCESS EXCLUSIVE MODE")
            yield
            own.rollback()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let Redis take connections and answer nothing."""
        pid = self._pid("valkey")
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def _pid(self, role: str) -> int:
        pid = self.copy.pid(role)
        assert pid, f"no {role} runs"
        return pid

    def users_writes(self, rounds: int, writes: int) -> dict[str, Sample]:
        """Save again and again under each trouble, which take turns."""
        troubles: dict[str, tuple[Therapist, list[Trouble]]] = {
            BASELINE: (self.ada, []),
            LOCKED: (self.ada, [self.locked]),
            FROZEN: (self.ada, [self.frozen]),
            FROZEN_LOCKED: (self.ada, [self.frozen, self.locked]),
            HOLE: (self.ada_beside, []),
            HOLE_LOCKED: (self.ada_beside, [self.locked]),
        }
        names, took = list(troubles), {name: list[float]() for name in troubles}
        for number in range(rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                ada, wrong = troubles[name]
                with ExitStack() as stack:
                    for trouble in wrong:
                        stack.enter_context(trouble())
                    took[name] += ada.timed(writes, self.answers.failed)
                self.answers.asked += writes
        self.settle()
        return {name: Sample(name, tuple(found)) for name, found in took.items()}

    def settle(self) -> None:
        """Bring the person's copies in line now: while a table was locked every write was an attempt that failed."""
        self.copy.manage("reconcile", str(self.person))
        self._wait_until_equal()

    def _wait_until_equal(self) -> None:
        """Wait until nothing is owed for the person and the copy says what the source says."""
        unequal = """SELECT FROM contract_sync_state WHERE person_id = %(person)s AND state <> 'in_sync'
            UNION ALL SELECT FROM therapist_profiles p JOIN therapist_enrollments e USING (user_id)
            WHERE user_id = %(person)s AND p.bio IS DISTINCT FROM e.bio"""
        with self.session() as own:
            until(lambda: own.execute(unequal, {"person": self.person}).rowcount == 0, seconds=120, what="Equality")

    def database_back(self, outage: float) -> float:
        """Keep PostgreSQL down, then give the seconds from its first answer to the first good write."""
        answered: list[float] = []
        self._keep_down("postgres", outage)

        def watch() -> None:
            while not database_answers(self.copy.database_url):
                time.sleep(0.02)
            answered.append(time.perf_counter())

        watcher = threading.Thread(target=watch)
        watcher.start()
        until(self.ada.is_served, seconds=60, what="A good write")
        good = time.perf_counter()
        watcher.join()
        self._count_lost()
        return max(0.0, good - answered[0])

    def _count_lost(self) -> None:
        """Note a write that was acknowledged and does not stand; a later one that nobody acknowledged may."""
        with self.session() as own:
            (kept,) = own.execute(
                "SELECT bio FROM therapist_enrollments WHERE user_id = %s", [self.person]
            ).fetchone() or ("",)
        number = int(str(kept).removeprefix("Text "))
        self.answers.outages += 1
        self.answers.lost += not self.ada.acknowledged <= number <= self.ada.number

    def redis_back(self, outage: float) -> float:
        """Keep Redis down, owe something, then give the seconds from Redis' first answer until a worker did it."""
        self._keep_down("valkey", outage)
        with self.session() as own:
            self._put_behind(own)
            until(lambda: redis_answers(self.copy.redis_url), seconds=60, what="Redis")
            answered = time.perf_counter()
            self._wait_until_equal()
            return time.perf_counter() - answered

    def retaken(self) -> float:
        """Kill the worker with kill -9 in the middle of its batch; give the seconds until another has done it."""
        with self.session() as own:
            own.execute("INSERT INTO slow_on_purpose VALUES (2)")
            self._put_behind(own)
            until(lambda: own.execute(ASLEEP).rowcount == 1, seconds=60, what="A worker at work")
            for pid in tree(self._pid("worker")):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed = time.perf_counter()
            own.execute("DELETE FROM slow_on_purpose")
            self._wait_until_equal()
            return time.perf_counter() - killed

    def _put_behind(self, own: Connection) -> None:
        own.execute("SET session_replication_role = replica")
        own.execute("UPDATE therapist_enrollments SET bio = random()::text WHERE user_id = %s", [self.person])
        own.execute("RESET session_replication_role")
        own.execute(
            "INSERT INTO sync_debt (person_id, targets, revision)"
            " VALUES (%s, '{therapist_profiles}', nextval('sync_revision'))",
            [self.person],
        )

    def _keep_down(self, role: str, seconds: float) -> None:
        # It is restarted by itself: whatever starts within the time is killed again.
        until_then = time.monotonic() + seconds
        while True:
            pid = self.copy.pid(role)
            if pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGQUIT if role == "postgres" else signal.SIGKILL)
            if time.monotonic() > until_then:
                return
            time.sleep(0.05)


def tree(pid: int) -> list[int]:
    """Give a process and everything that it started."""
    found = [pid]
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            own, _, rest = path.read_text().partition(" ")
            if int(rest.rpartition(")")[2].split()[1]) == pid:
                found += tree(int(own))
    return found


@contextmanager
def black_hole() -> Iterator[int]:
    """Give a port of this machine that drops who wants to connect: a listener whose queue is full."""
    with socket.socket() as listener, ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = int(listener.getsockname()[1])
        for _ in range(8):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        yield port


def measure(
    rounds: int, writes: int, times: int, outage: float
) -> tuple[dict[str, Sample], dict[str, Sample], Answers]:
    """Run a whole copy; give what writes took in each trouble, how long each recovery took, and what was answered."""
    with tempfile.TemporaryDirectory(prefix="keepwell-bench-") as folder, ExitStack() as stack:
        Path(folder).chmod(0o755)
        copy = Copy(Path(folder) / "var")
        stack.callback(copy.clean_up)
        bench = Bench(copy, stack)
        bench.start()
        samples = bench.users_writes(rounds, writes)
        with bench.session() as own:
            own.execute(SLOW)
        backs = {
            DATABASE_BACK: [bench.database_back(outage) for _ in range(times)],
            REDIS_BACK: [bench.redis_back(outage) for _ in range(times)],
            RETAKEN: [bench.retaken() for _ in range(times)],
        }
        bench.settle()
        return samples, {name: Sample(name, tuple(took)) for name, took in backs.items()}, bench.answers


def figures(samples: dict[str, Sample], backs: dict[str, Sample], answers: Answers, outage: float) -> list[Figure]:
    """Give the lines of the page."""
    base = samples[BASELINE].p99 * 1000
    worst = max(sample.p99 * 1000 for sample in samples.values())
    p99 = ", ".join(f"{name}: {sample.p99 * 1000:.0f}" for name, sample in samples.items())
    lines = [Figure("user write p99, ms", f"≤ {base:.0f} + {EXTRA_MS}", p99, is_reached=worst <= base + EXTRA_MS)]
    percent, failed = 100 * len(answers.failed) / answers.asked, f"{len(answers.failed)} of {answers.asked}"
    lines += [
        Figure("errors a person sees meanwhile", f"< {ERRORS_PERCENT} %", failed, is_reached=percent < ERRORS_PERCENT),
        Figure(
            "acknowledged writes lost over outages",
            "0",
            f"{answers.lost} of {answers.outages}",
            is_reached=not answers.lost,
        ),
    ]
    for name, what, reach in (
        (DATABASE_BACK, f"PostgreSQL back after {outage:.0f} s → first good write", BACK_SECONDS),
        (REDIS_BACK, f"Redis back after {outage:.0f} s → first task done", BACK_SECONDS),
        (RETAKEN, "worker killed in its batch → done by another", RETAKEN_SECONDS),
    ):
        slowest = max(backs[name].took)
        measured = f"{slowest:.1f} s (slowest of {len(backs[name].took)}, median {backs[name].median:.1f} s)"
        lines.append(Figure(what, f"≤ {reach} s", measured, is_reached=slowest <= reach))
    return lines


def main() -> int:
    """Measure on a copy of our own and print the table; 1 when a figure is not reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--writes", type=int, default=WRITES, help="of each round under each trouble")
    parser.add_argument("--times", type=int, default=TIMES, help="of each outage")
    parser.add_argument("--outage", type=float, default=OUTAGE_SECONDS, help="seconds")
    given = parser.parse_args()
    samples, backs, answers = measure(given.rounds, given.writes, given.times, given.outage)
    rows = [
        (s.name, f"{s.median * 1000:.1f}", f"{s.p99 * 1000:.1f}", f"{max(s.took) * 1000:.1f}") for s in samples.values()
    ]
    head = (f"{given.rounds * given.writes} PATCHes each, interleaved", "median ms", "p99 ms", "slowest ms")
    print(measuring.table(head, rows) + "\n")
    with measuring.bench():
        return measuring.report(figures(samples, backs, answers, given.outage))


if __name__ == "__main__":
    raise SystemExit(main())
