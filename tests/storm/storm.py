"""One storm: a running copy of Keepwell, writers with journals, faults by a seed, an oracle, and the verdict."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE
from typing import Any

import psycopg

from tests import oracle
from tests.processes import PROJECT, ROLES, Copy, is_alive, until
from tests.storm.chaos import Chaos
from tests.storm.journal import ADDRESS, AVATAR, Told, spot
from tests.storm.pictures import colour_of
from tests.storm.writers import PICTURE

PEOPLE = 8
WRITERS = [("http", 0), ("http", 1), ("orm", 0), ("orm", 1), ("sql", 0), ("sql", 1)]
# Backing off is bounded, so that "equal again" can be; everything else is as delivered.
SETTINGS = {
    "ALLOW_FAILPOINTS": "1", "LOG_LEVEL": "WARNING",
    # Many to kill at once, each soon there again: a fork of a parent that has loaded everything.
    "WORKER_CONCURRENCY": "6",
    "SYNC_BACKOFF_BASE_SECONDS": "1", "SYNC_BACKOFF_CAP_SECONDS": "5", "SYNC_BACKOFF_URGENT_CAP_SECONDS": "5",
    # A lock on a whole copy may open its breaker; the probe comes after a minute by default, and later each time.
    "SYNC_BREAKER_PROBE_SECONDS": "1", "SYNC_BREAKER_PROBE_CAP_SECONDS": "5",
}  # fmt: skip
# What is owed when the trouble has ended and everybody runs again is in line within this time, staff's retry included.
CALM_SECONDS = 30.0
PEOPLE_SQL = """
WITH made AS (
    INSERT INTO users (email, full_name, password, user_type, is_superuser, is_verified)
    SELECT 'storm' || n || '@example.org', 'first', '', 'therapist', false, true FROM generate_series(1, %s) n
    RETURNING id, email, full_name
), enrolled AS (
    INSERT INTO therapist_enrollments (user_id, email, full_name, status, approved_at, updated_at)
    SELECT id, email, full_name, 'approved', now(), now() FROM made
)
INSERT INTO therapist_profiles (user_id, verification_status, updated_at) SELECT id, 'approved', now() FROM made
"""
FINAL = {
    "full_name": "SELECT id, full_name FROM users",
    "bio": "SELECT user_id, bio FROM therapist_enrollments",
    "phone": "SELECT user_id, phone FROM therapist_enrollments",
    "specialization": "SELECT user_id, specialization FROM therapist_enrollments",
    "experience_years": "SELECT user_id, experience_years FROM therapist_enrollments",
    "status": "SELECT user_id, status FROM therapist_enrollments",
    ADDRESS: "SELECT id, email FROM users",
    AVATAR: "SELECT user_id, profile_image_url FROM therapist_enrollments",
}
# What a storm that did not end well is judged by: rows that are owed, items that are open, and who started when.
LEFT = {
    "ledger": "SELECT * FROM contract_sync_state WHERE owed_since IS NOT NULL",
    "items": "SELECT * FROM contract_interventions WHERE NOT resolved",
    "debt": "SELECT * FROM sync_debt LIMIT 40",
    "taken up": "SELECT * FROM sync_batch LIMIT 40",
    "sessions": "SELECT pid, backend_start, state, wait_event, left(query, 80) FROM pg_stat_activity WHERE datname IS NOT NULL",
}
OWED = """
SELECT (SELECT count(*) FROM sync_debt) + (SELECT count(*) FROM sync_ledger WHERE owed_since IS NOT NULL)
     + (SELECT count(*) FROM manual_intervention_log WHERE NOT resolved) + (SELECT count(*) FROM sync_belated)
"""


@dataclass
class Verdict:
    """What a storm left behind."""

    seed: int
    figures: dict[str, Any] = field(default_factory=dict)
    silent: list[Any] = field(default_factory=list)
    forgotten: list[Any] = field(default_factory=list)
    contradictions: list[Any] = field(default_factory=list)
    lost: dict[str, Any] = field(default_factory=dict)
    unequal: list[Any] = field(default_factory=list)
    # Who, and an address that was once answered as saved and by which nobody finds them.
    unknown_addresses: list[Any] = field(default_factory=list)

    def table(self) -> str:
        """Give the figures as lines for people."""
        head = {"seed": self.seed}
        rows = head | self.figures | {
            "unrecorded divergences": len(self.silent), "owed and forgotten": len(self.forgotten),
            "ledger contradicting itself": len(self.contradictions), "lost acknowledged writes": len(self.lost),
            "unequal at the end": len(self.unequal), "addresses that find nobody": len(self.unknown_addresses),
        }  # fmt: skip
        return "\n".join(f"| {what:32} | {figure!s:>10} |" for what, figure in rows.items())


class Storm:
    """A copy of Keepwell of its own, with people in it, that is let down in every way."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.orders = folder / "failpoints.json"
        self.copy = Copy(folder / "var", settings=SETTINGS | {"FAILPOINTS_FILE": str(self.orders)})
        self.writers: dict[tuple[str, int], int] = {}
        self.cast: dict[str, Any] = {}
        self._is_calm = threading.Event()

    def start(self, *, pause: float = 0.1) -> None:
        """Start the copy, fill it, and write down what the writers must know."""
        self.copy.start()
        self.cast = json.loads(self._manage("seed_acceptance"))
        with self.sql() as connection:
            connection.execute(PEOPLE_SQL, [PEOPLE])
            people = [row[0] for row in connection.execute("SELECT user_id FROM therapist_profiles ORDER BY 1")]
        told = {
            "port": self.copy.port, "database": self.url, "people": people, "pause": pause,
            "signed_in": [self.cast["ada"], self.cast["ben"]],
        }  # fmt: skip
        (self.folder / "told.json").write_text(json.dumps(told))

    @property
    def url(self) -> str:
        """Where its PostgreSQL is reached."""
        return self.copy.database_url.replace("postgres://", "postgresql://")

    def sql(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """Open a connection."""
        return psycopg.connect(self.url, autocommit=True, connect_timeout=2)

    def blow(self, *, kills: int, crashes: int, every_seconds: float, seconds: float) -> Verdict:
        """Let it blow until there were so many kills and crashes, wait for the calm, and judge."""
        verdict, began = Verdict(self.seed), time.monotonic()
        chaos = Chaos(self.copy, self.orders, random.Random(self.seed), self.pids)
        watcher = self._run("-m", "tests.storm.watcher", self.url, str(self.folder / "watched.json"))
        keeper = threading.Thread(target=self._keep_writing)
        keeper.start()
        try:
            chaos.blow(kills=kills, crashes=crashes, every_seconds=every_seconds, deadline=began + seconds)
        finally:
            chaos.end()
            self._is_calm.set()
            keeper.join()
            verdict.figures = {"seconds of storm": round(time.monotonic() - began), **chaos.figures()}
        self._judge(verdict)
        watcher.send_signal(signal.SIGTERM)
        watcher.wait(30)
        watched = json.loads((self.folder / "watched.json").read_text())
        verdict.silent, verdict.forgotten = watched["silent"], watched["forgotten"]
        verdict.contradictions = watched["contradictions"]
        verdict.figures |= {
            "snapshots": watched["snapshots"], "  with a difference, owed": watched["with_differences"],
        }  # fmt: skip
        return verdict

    def pids(self) -> list[int]:
        """List the writers that run."""
        return [pid for pid in self.writers.values() if is_alive(pid)]

    def retry_items(self) -> int:
        """Retry every open item, as Sam of the staff does over the API; give their number."""
        with self.sql() as connection:
            items = [row[0] for row in connection.execute("SELECT id FROM manual_intervention_log WHERE NOT resolved")]
        for item in items:
            with suppress(OSError):
                self.call("POST", f"interventions/{item}/retry/", "sam")
        return len(items)

    def call(self, method: str, path: str, who: str, words: dict[str, Any] | None = None) -> int:
        """Call the API as one of the cast; give the status. Raises OSError for no answer and for a refusal."""
        request = urllib.request.Request(
            f"{self.copy.url}/api/v1/{path}", method=method, data=json.dumps(words or {}).encode(),
            headers=self.cast[who]["headers"] | {"Content-Type": "application/json"},
        )  # fmt: skip
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            return int(answer.status)

    def calm_down(self) -> float:
        """
        Wait until nothing differs and nothing is owed, with staff's retry of items; give the seconds that it took.

        They count from when everybody who was killed last is there again: how long a process takes to start is the
        machine's matter.
        """
        until(lambda: any(self._is_answering()), seconds=30, what="PostgreSQL")
        with self.sql() as connection:
            ended = connection.execute("SELECT clock_timestamp()").fetchone()
        until(lambda: all(self._are_back(ended)), seconds=60, what="The web and a worker")
        began = time.monotonic()
        while time.monotonic() - began < CALM_SECONDS:
            with suppress(psycopg.Error), self.sql() as connection:
                if (
                    connection.execute(OWED).fetchall() == [(0,)]
                    and not connection.execute(oracle.DIFFERENCES).fetchall()
                ):
                    break
                self.retry_items()
            time.sleep(0.5)
        return time.monotonic() - began

    def _left(self) -> Iterator[str]:
        """Tell what is not done yet, and what became of the processes."""
        yield f"web answers: {self._status()}; pids: { {role: self.copy.pid(role) for role in ROLES} }"
        yield _supervisor_told(self.copy.var_dir)
        with self.sql() as connection:
            for what, query in LEFT.items():
                yield f"{what}: {connection.execute(query).fetchall()}"

    def _status(self) -> int | str:
        try:
            return self.call("GET", "therapists/me/sync/", "ada")
        except OSError as error:
            return repr(error)

    def _judge(self, verdict: Verdict) -> None:
        took = self.calm_down()
        verdict.figures["seconds until all was equal"] = round(took, 1)
        if took >= CALM_SECONDS:
            print("\n".join(self._left()))
        told = Told()
        for journal in sorted(self.folder.glob("*.journal")):
            told.read(journal)
        with self.sql() as connection:
            verdict.unequal = connection.execute(oracle.DIFFERENCES).fetchall()
            found = {spot(fact, p): value for fact, query in FINAL.items() for p, value in connection.execute(query)}
            media = self.folder / "var" / "media"
            found |= {spot(PICTURE, p): colour_of(url, media) for p, url in connection.execute(FINAL[AVATAR])}
            verdict.unknown_addresses = sorted(told.addresses - set(connection.execute(oracle.ADDRESSES)))
            items = connection.execute("SELECT count(*) FROM manual_intervention_log").fetchall()[0][0]
        verdict.lost = told.lost(found)
        verdict.figures |= {
            "acknowledged writes": told.acknowledged, "refused writes": sum(told.failed.values()),
            "writes of unknown outcome": told.unknown, "items opened": items,
        } | {f"  refused: {why}": n for why, n in told.failed.most_common(8)}  # fmt: skip

    def _is_answering(self) -> Iterator[bool]:
        with suppress(psycopg.Error), self.sql():
            yield True

    def _are_back(self, since: "tuple[Any, ...] | None") -> Iterator[bool]:
        yield self._status() == 200
        with self.sql() as connection:
            lives = "SELECT FROM sync_pulse WHERE role = 'worker' AND at > %s"
            yield bool(connection.execute(lives, since).fetchall())

    def _keep_writing(self) -> None:
        """Start every writer, and start anew who was killed; end all when it is calm."""
        starter = self._run("-m", "tests.storm.writers", str(self.folder), str(self.seed), is_asked=True)
        while not self._is_calm.is_set():
            for kind, number in WRITERS:
                if not is_alive(self.writers.get((kind, number), 0)):
                    self.writers[kind, number] = _asked(starter, f"{kind} {number}")
            self._is_calm.wait(0.2)
        for pid in self.pids():
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGTERM)
        until(lambda: not self.pids(), seconds=30, what="The end of every writer")
        starter.communicate(timeout=30)

    def _run(self, *words: str, is_asked: bool = False) -> "subprocess.Popen[bytes]":
        pipe = PIPE if is_asked else None
        with (self.folder / "processes.out").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, *words], cwd=PROJECT, env=self._environment(), stdin=pipe, stdout=pipe or output,
                stderr=output,
            )  # fmt: skip

    def _manage(self, *words: str) -> str:
        return subprocess.run(
            [sys.executable, "manage.py", *words], cwd=PROJECT, env=self._environment(), capture_output=True, text=True,
            check=True, timeout=60,
        ).stdout  # fmt: skip

    def _environment(self) -> dict[str, str]:
        _, environment = self.copy.command()
        # Writers are people's programs: what ends them is the storm's own kill, never a failpoint.
        return {name: value for name, value in environment.items() if name != "ALLOW_FAILPOINTS"} | {
            "PATH": os.environ["PATH"]
        }


def _supervisor_told(var_dir: Path) -> str:
    """Give the last lines of supervisor's log: who ended, and how."""
    return "\n".join((var_dir / "log" / "supervisord.log").read_text(errors="replace").splitlines()[-40:])


def _asked(starter: "subprocess.Popen[bytes]", line: str) -> int:
    """Have a process started by one that has everything loaded; give its id."""
    assert starter.stdin
    assert starter.stdout
    starter.stdin.write(f"{line}\n".encode())
    starter.stdin.flush()
    return int(starter.stdout.readline())
