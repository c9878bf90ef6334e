"""Real processes that work on the test's database until a failpoint ends them."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interventions import failpoints
from tests import fakes
from tests.processes import PROJECT


@dataclass
class Victims:
    """A process that has loaded Django and forks for each piece of work, and the file that orders their deaths."""

    orders: Path
    process: "subprocess.Popen[str]"

    def run(self, work: str, /, *, orders: dict[str, Any], **words: Any) -> int:
        """Run a piece of work of tests/victim.py under these orders; give its exit code, -9 for one that was killed."""
        assert self.process.stdin
        assert self.process.stdout
        # Another file and so another version: counts begin anew.
        written = self.orders.with_suffix(".new")
        written.write_text(json.dumps(orders))
        written.replace(self.orders)
        self.process.stdin.write(json.dumps({"work": work, "words": words}) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def killed_between(self, first: str, second: str, work: str, /, **words: Any) -> None:
        """Run a real process that passes `first` and is killed, as by `kill -9`, when it comes to `second`."""
        code = self.run(work, orders={first: "hang:0", second: "kill"}, **words)
        assert code == -9, f"{work} was not killed at {second} but ended with {code}."
        assert self.fired().get(first), f"{work} never passed {first}."

    def fired(self) -> dict[str, int]:
        """Tell which points were reached in the last run, and how often."""
        return failpoints.fired(self.orders)


@contextmanager
def waiting(folder: Path) -> Iterator[Victims]:
    """Start the process; it works on the test's database and ends with the block."""
    orders = folder / "failpoints.json"
    environment = os.environ | {
        "DATABASE_URL": fakes.database_url(), "ALLOW_FAILPOINTS": "1", "FAILPOINTS_FILE": str(orders),
        "LOG_LEVEL": "ERROR", "SYNC_SPOOL_DIR": str(folder / "spool"),
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.victim"],
        env=environment, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield Victims(orders, process)
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.communicate(timeout=30)
