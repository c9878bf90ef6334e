"""Keepwell beside its peers: what a save costs, and how fast 50,000 pending updates are made, in one run."""

from tests import measuring  # isort: skip - first, because it sets Django up
import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from django.conf import settings
from django.db import connections

from tests import bench_drain, fakes
from tests.measuring import Sample
from tests.peers import environment
from tests.peers.registry import BARE, LIMIT, OURS, PEERS, Peer

PENDING, SAVE_ROUNDS, SAVES, DRAIN_ROUNDS, SECONDS = 50_000, 60, 20, 3, 12
NO_TRIGGERS = """
DO $$ DECLARE found record; BEGIN
  FOR found IN SELECT tgname, tgrelid::regclass AS relation FROM pg_trigger WHERE NOT tgisinternal LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', found.tgname, found.relation);
  END LOOP;
END $$
"""


class PeerFailed(Exception):
    """A peer's process ended; what it said last is the message."""


@dataclass
class Runner:
    """A peer's process and database, and what was measured of it."""

    peer: Peer
    number: int
    said: Path
    error: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    saves: list[list[float]] = field(default_factory=list)
    drains: dict[bool, list[dict[str, Any]]] = field(default_factory=lambda: {False: [], True: []})
    process: "subprocess.Popen[str] | None" = None

    def start(self, database: str) -> None:
        """Start its process, in the environment that has the peer."""
        address = urlsplit(fakes.database_url())
        own = urlunsplit(("postgresql", address.netloc, f"/{database}", "", ""))
        is_ours = self.peer.name == OURS
        variables = os.environ | {
            "PEER": self.peer.name,
            "DATABASE_URL": own,
            "REDIS_URL": f"{settings.REDIS_URL.rpartition('/')[0]}/{self.number}",
            "DJANGO_SETTINGS_MODULE": "config.settings" if is_ours else "tests.peers.settings",
        }
        python = str(environment.PYTHON) if self.peer.package else sys.executable
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                [python, "-m", "tests.peers.child"], cwd=environment.ROOT, env=variables, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said,
            )  # fmt: skip

    def ask(self, what: str, **words: object) -> Any:
        """Have something done; raises PeerFailed with the peer's last words."""
        assert self.process
        assert self.process.stdin
        assert self.process.stdout
        try:
            self.process.stdin.write(json.dumps({"do": what} | words) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            lines = self.said.read_text(errors="replace").strip().splitlines()
            raise PeerFailed((lines or ["it ended without a word"])[-1][:200])
        return json.loads(answer)

    def stop(self) -> None:
        """End its process."""
        if self.process:
            self.process.kill()
            self.process.communicate()

    def prepare(self) -> None:
        """Make its own tables."""
        self.versions = self.ask("prepare")

    def save(self, count: int) -> None:
        """Save so many therapists."""
        self.saves.append(self.ask("save", count=count, start=sum(map(len, self.saves))))

    def drain(self, *, pending: int, poison: bool, seconds: float) -> None:
        """Leave updates pending and make them."""
        last = self.ask("fill", pending=min(pending, self.peer.most_pending), poison=poison)
        self.drains[poison].append(self.ask("drain", last=last, seconds=seconds))

    @property
    def sample(self) -> Sample:
        """The middle save of every round."""
        return Sample(self.peer.name, tuple(statistics.median(taken) for taken in self.saves))


def databases(runners: Sequence[Runner], stack: ExitStack) -> None:
    """Give every peer a copy of the database as it is, all but ours without a trigger; the stack's end drops them."""
    connections.close_all()
    url = fakes.database_url()
    maintenance = urlunsplit(urlsplit(url)._replace(path="/postgres"))
    template = urlsplit(url).path.lstrip("/")
    for runner in runners:
        name = f"{template}_{runner.peer.module}"
        stack.callback(_execute, maintenance, f'DROP DATABASE "{name}" WITH (FORCE)')
        _execute(maintenance, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        if runner.peer.name != OURS:
            _execute(urlunsplit(urlsplit(url)._replace(path=f"/{name}")), NO_TRIGGERS)
        runner.start(name)


def _execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as own:
        own.execute(statement)


def each(runners: Sequence[Runner], first: int, what: Any) -> None:
    """Let every peer that still lives do something, beginning with another one each time; a failure is noted."""
    start = first % len(runners)
    for runner in [*runners[start:], *runners[:start]]:
        if runner.error:
            continue
        try:
            what(runner)
        except PeerFailed as failed:
            runner.error = str(failed)
            runner.stop()


def measure(
    peers: Sequence[Peer], errors: dict[str, str], folder: Path, *,
    save_rounds: int, saves: int, drain_rounds: int, pending: int, seconds: float,
) -> list[Runner]:  # fmt: skip
    """Run both benchmarks over the crowd that is in the database; what a peer could not do is its `error`."""
    runners = [
        Runner(peer, number, folder / f"{peer.module}.log", error=errors.get(peer.package, ""))
        for number, peer in enumerate(peers)
    ]
    with ExitStack() as stack:
        for runner in runners:
            stack.callback(runner.stop)
        with bench_drain.poisonous():
            databases([runner for runner in runners if not runner.error], stack)
        each(runners, 0, Runner.prepare)
        savers = [runner for runner in runners if runner.peer.saves]
        for number in range(save_rounds):
            each(savers, number, lambda runner: runner.save(saves))
        drainers = [runner for runner in runners if runner.peer.drains]
        for number in range(drain_rounds):
            for poison in (False, True):
                each(
                    drainers, number,
                    lambda runner, poison=poison: runner.drain(pending=pending, poison=poison, seconds=seconds),
                )  # fmt: skip
    return runners


def save_rows(runners: Sequence[Runner]) -> list[tuple[object, ...]]:
    """Give a line for each way to save."""
    bare = next(runner for runner in runners if runner.peer.name == BARE)
    rows: list[tuple[object, ...]] = []
    for runner in (one for one in runners if one.peer.saves):
        if runner.error or not runner.saves:
            rows.append((runner.peer.name, "failed", "", "", runner.error, ""))
            continue
        calls = sorted(took * 1000 for taken in runner.saves for took in taken)
        rows.append((
            runner.peer.name, f"{runner.sample.median * 1000:.2f}", f"{runner.sample.ratio_to(bare.sample):.2f}",
            f"{calls[len(calls) * 99 // 100]:.1f}", runner.peer.durable, runner.versions["version"],
        ))  # fmt: skip
    return rows


def drain_rows(runners: Sequence[Runner]) -> list[tuple[object, ...]]:
    """Give a line for each way to make what is pending."""
    limit = next(runner for runner in runners if runner.peer.name == LIMIT)
    rows: list[tuple[object, ...]] = []
    for runner in (one for one in runners if one.peer.drains):
        if runner.error or not runner.drains[True]:
            rows.append((runner.peer.name, "failed", "", "", runner.error, ""))
            continue
        clean, poisoned = runner.drains[False], runner.drains[True]
        times = statistics.median(of["rate"] / one["rate"] for of, one in zip(limit.drains[False], clean, strict=False))
        last = poisoned[-1]
        stopped = f" (stops: {last['done']:,} of {last['owed']:,} made)" if last["has_stopped"] else ""
        rows.append((
            runner.peer.name, _rate(clean), f"{times:,.1f}", _rate(poisoned) + stopped,
            f"{runner.peer.poison}: {last['failures']}", runner.versions["version"],
        ))  # fmt: skip
    return rows


def _rate(found: Sequence[dict[str, Any]]) -> str:
    return f"{statistics.median(one['rate'] for one in found):,.0f}"


def main() -> int:
    """Install the peers where they are not yet, measure all on servers of our own, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pending", type=int, default=PENDING)
    parser.add_argument("--save-rounds", type=int, default=SAVE_ROUNDS)
    parser.add_argument("--drain-rounds", type=int, default=DRAIN_ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time of one drain of a slow peer")
    parser.add_argument("--only", nargs="*", default=[], help="modules of tests/peers beside the limits and ourselves")
    given = parser.parse_args()
    chosen = [peer for peer in PEERS if not peer.package or not given.only or peer.module in given.only]
    errors = environment.install(chosen)
    folder = environment.PLACE / "log"
    folder.mkdir(exist_ok=True)
    with measuring.bench():
        measuring.crowd(given.pending)
        runners = measure(
            chosen, errors, folder, save_rounds=given.save_rounds, saves=SAVES, drain_rounds=given.drain_rounds,
            pending=given.pending, seconds=given.seconds,
        )  # fmt: skip
        print(f"One save of a therapist, {given.save_rounds} interleaved rounds of {SAVES} calls, medians:\n")
        head = ("way to save", "ms", f"x {BARE}", "p99 ms", "is the wish to copy durable?", "version")
        print(measuring.table(head, save_rows(runners)))
        print(f"\n{given.pending:,} pending updates of one copy, {given.drain_rounds} interleaved rounds, medians:\n")
        head = (
            "way to make them",
            "clean, /s",
            "x slower than the limit",
            "1 % poison, /s",
            "what becomes of poison",
            "version",
        )
        print(measuring.table(head, drain_rows(runners)) + f"\n\n{measuring.surroundings()}")
    return int(any(runner.error for runner in runners))


if __name__ == "__main__":
    raise SystemExit(main())
