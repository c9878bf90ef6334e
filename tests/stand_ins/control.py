"""What a test says to a stand-in, and asks of it."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SECONDS = 10


@dataclass(frozen=True)
class Control:
    """A running stand-in, by its address."""

    address: str

    def follow(self, *steps: dict[str, Any]) -> None:
        """Let it follow these steps from now on; none: all is well again."""
        self._ask("PUT", list(steps))

    def forget(self) -> None:
        """Let it forget script, requests, effects and state."""
        self._ask("DELETE")

    @property
    def received(self) -> list[dict[str, Any]]:
        """Every request so far."""
        return list(self._ask("GET")["received"])

    @property
    def effects(self) -> list[dict[str, Any]]:
        """What took effect so far."""
        return list(self._ask("GET")["effects"])

    def _ask(self, method: str, body: object = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/_control/", data=data, method=method)
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            told: dict[str, Any] = json.load(answer)
        return told


@contextmanager
def started(*names: str, environment: dict[str, str] | None = None) -> Iterator[Sequence[Control]]:
    """Start the named stand-ins in one process of their own, at free ports; they end with the block, or with us."""
    command = [sys.executable, str(HERE), "--until-input-ends", *names]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(environment or {})
    )
    assert process.stdout is not None
    try:
        addresses = json.loads(process.stdout.readline())
        yield [Control(addresses[name]) for name in names]
    finally:
        process.kill()
        process.communicate(timeout=SECONDS)
