"""One program of a running copy: what is started, how it is stopped, which pid file it has."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

GUARD = Path(__file__).with_name("guard.py")


@dataclass(frozen=True)
class Program:
    """A command with a role and the number of its place among those of the same role."""

    role: str
    command: tuple[str, ...]
    stop_signal: str = "TERM"
    grace: int = 10
    number: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    # What it says in its log when somebody else has its port.
    port_taken: str = ""

    @property
    def name(self) -> str:
        """Its name in pid files, logs and supervisor's configuration."""
        return f"{self.role}-{self.number}"

    def log_file(self, var_dir: Path) -> Path:
        """Where its output goes; the folder exists afterwards."""
        return folder(var_dir, "log") / f"{self.name}.log"

    def log_size(self, var_dir: Path) -> int:
        """How many bytes it has said so far."""
        log = self.log_file(var_dir)
        return log.stat().st_size if log.exists() else 0

    def has_lost_port(self, var_dir: Path, *, since: int) -> bool:
        """Tell whether it has said, after that many bytes of its log, that somebody took its port before it came."""
        log = self.log_file(var_dir)
        return bool(self.port_taken) and log.exists() and self.port_taken.encode() in log.read_bytes()[since:]

    def guarded(self, var_dir: Path, *, after: Path | None = None) -> list[str]:
        """Give the command line that runs it under the guard, from the moment that the file `after` exists."""
        pid_file = folder(var_dir, "run") / f"{self.name}.pid"
        options = ["--pid-file", str(pid_file), "--signal", self.stop_signal, "--grace", str(self.grace)]
        options += ["--after", str(after)] if after else []
        options += ["--user", self.user] if self.user else []
        return guard_command(*options, command=self.command)

    def start(
        self, var_dir: Path, *, locks: Sequence[int], output: IO[bytes] | int | None = None
    ) -> "subprocess.Popen[bytes]":
        """Start it under the guard as our child."""
        return start_guarded(self.guarded(var_dir), locks=locks, environment=self.environment, output=output)


def start_guarded(
    command: Sequence[str],
    *,
    locks: Sequence[int],
    environment: Mapping[str, str],
    output: IO[bytes] | int | None = None,
) -> "subprocess.Popen[bytes]":
    """
    Start a guard's command line as our child, in a session of its own: a Ctrl-C on the terminal is ours to pass on.

    It ends when we do, however we end, and holds the locks until then.
    """
    return subprocess.Popen(
        command,
        env=os.environ | dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        start_new_session=True,
        pass_fds=locks,
    )


def guard_command(*options: str, command: tuple[str, ...]) -> list[str]:
    """Give the command line that runs `command` under the guard."""
    return [sys.executable, "-I", "-S", str(GUARD), *options, "--", *command]


def folder(var_dir: Path, name: str) -> Path:
    """Give a folder in `var_dir` that exists."""
    path = var_dir / name
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path
