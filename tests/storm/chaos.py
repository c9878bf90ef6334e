"""What goes wrong in a storm: each fault hits one running copy of Keepwell, and says of itself what it was."""

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import redis

from interventions import failpoints
from interventions.points import POINTS
from tests.processes import Copy

# What anybody may lock while others write: the three tables, and the one that an address given up goes into.
LOCKED = ("users", "therapist_enrollments", "therapist_profiles", "user_aliases")
# The web comes to these, and its processes take seconds to start; a worker's are forks that are there at once. So many
# points of workers are set at a time, one of the web now and then, and all anew after so long.
OF_WEB = (
    "therapists.",
    "sync.fan_out.",
    "sync.after_commit",
    "sync.after_fan_out",
    "sync.before_publish",
    "sync.after_publish",
)
# One death in so many is at a point: while there are fewer, nobody is killed anywhere else.
AT_POINTS = 4
WORKERS_AT_ONCE, WEB_SHARE, POINTS_SECONDS = 12, 0.4, 2.0
# Longer than a worker may hold a batch: a stopped one comes back when its locks are gone.
STOPPED_SECONDS = 4.0
KILLS, CRASHES, AT_FAILPOINT = "kills", "PostgreSQL crashes", "at a failpoint"


class Chaos:
    """Faults against one copy, one after the other, by a seed."""

    def __init__(self, copy: Copy, orders: Path, rnd: random.Random, writers: Callable[[], list[int]]) -> None:
        self.copy, self.orders, self.rnd, self.writers = copy, orders, rnd, writers
        self.hits: Counter[tuple[str, str]] = Counter()
        # Of each failpoint, how many died there.
        self.points: Counter[str] = Counter()
        self._threads: list[threading.Thread] = []
        self._died: Counter[str] = Counter()
        self._ordered_at = 0.0
        # Parents take many seconds to be there again, in which nothing happens: they die seldom.
        self._faults: list[tuple[float, Callable[[], None]]] = [
            (5, self.kill_children_of_worker), (0.25, self.kill_worker), (1, self.kill_child_of_web), (0.25, self.kill_web),
            (0.5, self.kill_beat), (3, self.kill_writers), (1, self.kill_valkey), (2, self.stop_and_continue),
            (1, self.freeze_valkey), (1, self.flush_valkey), (3, self.terminate_backends), (4, self.lock_tables),
        ]  # fmt: skip

    def blow(self, *, kills: int, crashes: int, every_seconds: float, deadline: float) -> None:
        """Go on until there were so many of each, spread over each other, or the deadline passes."""
        while (self._count(KILLS) < kills or self._count(CRASHES) < crashes) and time.monotonic() < deadline:
            self.order_deaths()
            is_crash = self._count(CRASHES) * kills < crashes * self._count(KILLS)
            weights, faults = zip(*self._faults, strict=True)
            fault = self.rnd.choice([self.crash_postgres, self.kill_backend]) if is_crash else None
            if not is_crash and self._count(KILLS) > AT_POINTS * self.hits[KILLS, AT_FAILPOINT] + AT_POINTS:
                # Whoever works comes to a point by itself, as soon as it works again.
                fault = self.order_deaths
            with suppress(psycopg.Error, redis.RedisError, ProcessLookupError):
                (fault or self.rnd.choices(faults, weights)[0])()
            time.sleep(every_seconds * self.rnd.uniform(0.5, 1.5))

    def end(self) -> None:
        """Stop making trouble, and let go of everything."""
        self._count_ordered()
        self.orders.unlink(missing_ok=True)
        for thread in self._threads:
            thread.join()

    def figures(self) -> dict[str, int]:
        """Give how often what happened, kills and crashes each followed by whom they hit."""
        told: dict[str, int] = {}
        for kind in (KILLS, CRASHES, ""):
            of_kind = {what: n for (of, what), n in sorted(self.hits.items()) if of == kind}
            told |= ({kind: sum(of_kind.values())} if kind else {}) | {
                f"  {what}" if kind else what: n for what, n in of_kind.items()
            }
        return told | {"failpoints at which somebody died": len(self.points)}

    def order_deaths(self) -> None:
        """Let whoever comes to some points next die there: other points every few seconds."""
        self._count_ordered()
        if time.monotonic() - self._ordered_at < POINTS_SECONDS:
            return
        of_web = sorted(point for point in POINTS if point.startswith(OF_WEB))
        others = sorted(POINTS.keys() - set(of_web))
        points = self.rnd.sample(others, WORKERS_AT_ONCE)
        if self.rnd.random() < WEB_SHARE:
            points.append(self.rnd.choice(of_web))
        written = self.orders.with_suffix(".new")
        written.write_text(
            json.dumps({point: {"action": "kill", "times": self.rnd.choice([1, 1, 2])} for point in points})
        )
        self._count_ordered()
        written.replace(self.orders)
        self._died, self._ordered_at = Counter(), time.monotonic()

    def kill_children_of_worker(self) -> None:
        """Kill some that do a worker's work, all at once."""
        for pid in self._some(children(self.copy.pid("worker"))):
            self._kill(pid, "worker's child")

    def kill_worker(self) -> None:
        """Kill a whole worker's parent."""
        self._kill(self.copy.pid("worker"), "worker")

    def kill_child_of_web(self) -> None:
        """Kill one that answers requests."""
        self._kill(self.rnd.choice(children(self.copy.pid("web")) or [0]), "web's child")

    def kill_web(self) -> None:
        """Kill the web's parent."""
        self._kill(self.copy.pid("web"), "web")

    def kill_beat(self) -> None:
        """Kill the one that rings for the sweep."""
        self._kill(self.copy.pid("beat"), "beat")

    def kill_writers(self) -> None:
        """Kill some in the middle of a write, all at once."""
        for pid in self._some(self.writers()):
            self._kill(pid, "writer")

    def kill_valkey(self) -> None:
        """Kill the broker."""
        self._kill(self.copy.pid("valkey"), "Valkey")

    def crash_postgres(self) -> None:
        """Stop PostgreSQL as a power cut does: it recovers from its log."""
        if pid := self.copy.pid("postgres"):
            os.kill(pid, self.rnd.choice([signal.SIGQUIT, signal.SIGQUIT, signal.SIGKILL]))
            self._note(CRASHES, "immediate stop")

    def kill_backend(self) -> None:
        """Kill one session's process, on which PostgreSQL throws all others out and recovers."""
        with self._sql() as connection:
            pids = [pid for (pid,) in connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )]  # fmt: skip
        if pids:
            os.kill(self.rnd.choice(pids), signal.SIGKILL)
            self._note(CRASHES, "killed backend")

    def stop_and_continue(self) -> None:
        """Stop a process for longer than its lease, and let it go on as if nothing had been."""
        pid = self.rnd.choice([*children(self.copy.pid("worker")), *children(self.copy.pid("web")), *self.writers(), 0])
        self._stop(pid, self.rnd.uniform(1, STOPPED_SECONDS), "stopped process")

    def freeze_valkey(self) -> None:
        """Let the broker take connections and answer nothing."""
        self._stop(self.copy.pid("valkey"), self.rnd.uniform(0.5, 2), "frozen Valkey")

    def flush_valkey(self) -> None:
        """Empty the broker."""
        redis.Redis.from_url(self.copy.redis_url, socket_timeout=1, socket_connect_timeout=1).flushall()
        self._note("", "flushed Valkey")

    def terminate_backends(self) -> None:
        """End sessions as an administrator does: one, or all."""
        some = " ORDER BY random() LIMIT 1" if self.rnd.random() < 0.7 else ""
        with self._sql() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity"
                f" WHERE backend_type = 'client backend' AND pid <> pg_backend_pid(){some}) AS chosen"
            )
        self._note("", "terminated sessions")

    def lock_tables(self) -> None:
        """Hold a whole table, or some of its rows, for a moment."""
        table, mode = self.rnd.choice(LOCKED), self.rnd.choice(["EXCLUSIVE", "ACCESS EXCLUSIVE", "rows"])
        statement = f"SELECT FROM {table} FOR UPDATE" if mode == "rows" else f"LOCK TABLE {table} IN {mode} MODE"
        self._aside(lambda: self._hold(statement, self.rnd.uniform(0.2, 1.2)))
        self._note("", "locked tables")

    def _hold(self, statement: str, seconds: float) -> None:
        with suppress(psycopg.Error), self._sql() as connection, connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '1s'")
            connection.execute(statement)
            time.sleep(seconds)

    def _stop(self, pid: int | None, seconds: float, what: str) -> None:
        if pid:
            os.kill(pid, signal.SIGSTOP)
            self._note("", what)
            self._aside(lambda: self._continue(pid, seconds))

    def _continue(self, pid: int, seconds: float) -> None:
        time.sleep(seconds)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def _aside(self, work: Callable[[], None]) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        self._threads.append(threading.Thread(target=work))
        self._threads[-1].start()

    def _some(self, pids: list[int]) -> list[int]:
        return self.rnd.sample(pids, min(len(pids), self.rnd.choice([1, 1, 2, 3])))

    def _kill(self, pid: int | None, what: str) -> None:
        if pid:
            os.kill(pid, signal.SIGKILL)
            self._note(KILLS, what)

    def _count(self, kind: str) -> int:
        return sum(n for (of, _), n in self.hits.items() if of == kind)

    def _note(self, kind: str, what: str) -> None:
        self.hits[kind, what] += 1

    def _count_ordered(self) -> None:
        """Count who died at a failpoint since the last look, and where."""
        died = Counter(failpoints.fired(self.orders))
        fresh = died - self._died
        self.hits[KILLS, AT_FAILPOINT] += fresh.total()
        self.points.update(fresh)
        self._died |= died  # one who counts at this moment may show us nothing

    def _sql(self) -> "psycopg.Connection[tuple[Any, ...]]":
        url = self.copy.database_url.replace("postgres://", "postgresql://")
        return psycopg.connect(url, autocommit=True, connect_timeout=2, application_name="chaos")


def children(pid: int | None) -> list[int]:
    """List the processes that this one has started; none where there is none."""
    if not pid:
        return []
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    if Path("/proc/self/task").exists():
        # Starting `ps` takes longer on a busy machine than what stands between two kills.
        with suppress(OSError):
            return [int(child) for child in listed.read_text().split()]
        return []
    told = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False).stdout
    return [int(line) for line in told.split()]
