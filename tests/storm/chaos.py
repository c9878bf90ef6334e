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
from tests.processes import Copy

COPIES = ("users", "therapist_enrollments", "therapist_profiles")
# Longer than a worker may hold a batch: a stopped one comes back when its locks are gone.
STOPPED_SECONDS = 4.0
KILLS, CRASHES = "kills", "PostgreSQL crashes"


class Chaos:
    """Faults against one copy, one after the other, by a seed."""

    def __init__(self, copy: Copy, orders: Path, rnd: random.Random, writers: Callable[[], list[int]]) -> None:
        self.copy, self.orders, self.rnd, self.writers = copy, orders, rnd, writers
        self.hits: Counter[tuple[str, str]] = Counter()
        self._threads: list[threading.Thread] = []
        self._died = 0
        self._faults: list[tuple[int, Callable[[], None]]] = [
            (8, self.kill_at_failpoint), (6, self.kill_child_of_worker), (3, self.kill_worker), (4, self.kill_child_of_web),
            (2, self.kill_web), (2, self.kill_beat), (4, self.kill_writer), (2, self.kill_valkey), (2, self.stop_and_continue),
            (2, self.freeze_valkey), (2, self.flush_valkey), (3, self.terminate_backends), (3, self.lock_copies),
        ]  # fmt: skip

    def blow(self, *, kills: int, crashes: int, every_seconds: float, deadline: float) -> None:
        """Go on until there were so many of each, spread over each other, or the deadline passes."""
        while (self._count(KILLS) < kills or self._count(CRASHES) < crashes) and time.monotonic() < deadline:
            is_crash = self._count(CRASHES) * kills < crashes * self._count(KILLS)
            weights, faults = zip(*self._faults, strict=True)
            fault = self.rnd.choice([self.crash_postgres, self.kill_backend]) if is_crash else None
            with suppress(psycopg.Error, redis.RedisError, ProcessLookupError):
                (fault or self.rnd.choices(faults, weights)[0])()
            time.sleep(every_seconds * self.rnd.uniform(0.5, 1.5))
            self._count_ordered()

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
        return told

    def kill_at_failpoint(self) -> None:
        """Let whoever comes to some point next die there."""
        self._count_ordered()
        point = self.rnd.choice(sorted(failpoints.POINTS))
        written = self.orders.with_suffix(".new")
        written.write_text(json.dumps({point: {"action": "kill", "times": self.rnd.choice([1, 1, 2])}}))
        written.replace(self.orders)
        self._died = 0

    def kill_child_of_worker(self) -> None:
        """Kill one that does a worker's work."""
        self._kill(self.rnd.choice(children(self.copy.pid("worker")) or [0]), "worker's child")

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

    def kill_writer(self) -> None:
        """Kill somebody in the middle of a write."""
        self._kill(self.rnd.choice(self.writers() or [0]), "writer")

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

    def lock_copies(self) -> None:
        """Hold a whole table, or some of its rows, for a moment."""
        table, mode = self.rnd.choice(COPIES), self.rnd.choice(["EXCLUSIVE", "ACCESS EXCLUSIVE", "rows"])
        statement = f"SELECT FROM {table} FOR UPDATE" if mode == "rows" else f"LOCK TABLE {table} IN {mode} MODE"
        self._aside(lambda: self._hold(statement, self.rnd.uniform(0.2, 1.2)))
        self._note("", "locks on copies")

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

    def _kill(self, pid: int | None, what: str) -> None:
        if pid:
            os.kill(pid, signal.SIGKILL)
            self._note(KILLS, what)

    def _count(self, kind: str) -> int:
        return sum(n for (of, _), n in self.hits.items() if of == kind)

    def _note(self, kind: str, what: str) -> None:
        self.hits[kind, what] += 1

    def _count_ordered(self) -> None:
        """Count who died at a failpoint since the last order."""
        died = sum(failpoints.fired(self.orders).values())
        self.hits[KILLS, "at a failpoint"] += died - self._died
        self._died = died

    def _sql(self) -> "psycopg.Connection[tuple[Any, ...]]":
        url = self.copy.database_url.replace("postgres://", "postgresql://")
        return psycopg.connect(url, autocommit=True, connect_timeout=2, application_name="chaos")


def children(pid: int | None) -> list[int]:
    """List the processes that this one has started; none where there is none."""
    if not pid:
        return []
    told = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False).stdout
    return [int(line) for line in told.split()]
