"""Real processes for tests: waiting for them, and whole copies of Keepwell run as a newcomer runs them."""

import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from config.embedded.places import database_url, is_free, redis_url
from config.embedded.postgres import command_line

PROJECT = Path(__file__).resolve().parent.parent
ROLES = ("postgres", "valkey", "web", "events", "worker", "beat")
OF_THIS_RUN = {"EVENTS_URL", "MEDIA_ROOT", "SECRET_KEY"}


def until(is_true: Callable[[], bool], *, seconds: float = 10, what: str = "It") -> None:
    """Wait until it is true; fail when it is not in time."""
    for _ in range(int(seconds / 0.02)):
        if is_true():
            return
        threading.Event().wait(0.02)
    pytest.fail(f"{what} did not come true in {seconds} s.")


def is_alive(pid: int) -> bool:
    """Tell whether the process runs; one that is dead and not yet buried does not."""
    return bool(command_line(pid))


def free_ports() -> int:
    """Give a port that is free together with the next one."""
    while not (is_free(port := 10_000 + secrets.randbelow(9_000)) and is_free(port + 1)):
        pass
    return port


@dataclass
class Copy:
    """A copy of Keepwell with a directory and ports of its own."""

    var_dir: Path
    python: Sequence[str] = (sys.executable,)
    port: int = field(default_factory=free_ports)
    launcher: "subprocess.Popen[bytes] | None" = None
    is_demo: bool = False
    # What its processes are told besides.
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where its web is reached."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def events_url(self) -> str:
        """Where its streams process is reached."""
        return f"http://127.0.0.1:{self.port + 1}"

    @property
    def output(self) -> Path:
        """What the launcher said."""
        return self.var_dir.with_suffix(".out")

    @property
    def said(self) -> str:
        """What the launcher said, as text."""
        return self.output.read_text(errors="replace")

    def command(self, *options: str) -> tuple[list[str], dict[str, str]]:
        """Give the command line and the environment of `manage.py dev`."""
        kept = {name: value for name, value in os.environ.items() if name not in OF_THIS_RUN}
        own = {"VAR_DIR": str(self.var_dir), "PORT": str(self.port), "DEMO": str(int(self.is_demo)), "DEBUG": "1"}
        own |= {"DATABASE_URL": "", "REDIS_URL": "", "PYTHONUNBUFFERED": "1"} | self.settings
        return [*self.python, str(PROJECT / "manage.py"), "dev", *options], kept | own

    def start(self, *options: str, until_said: str = "Keepwell is ready") -> None:
        """Start it and wait until it says that it is ready."""
        command, environment = self.command(*options)
        with self.output.open("wb") as output:
            self.launcher = subprocess.Popen(
                command, env=environment, stdout=output, stderr=output, start_new_session=True, cwd=PROJECT
            )
        started = self.launcher
        until(lambda: until_said in self.said or started.poll() is not None, seconds=120, what=until_said)
        assert until_said in self.said, self.said

    def run(self, *options: str) -> "subprocess.CompletedProcess[str]":
        """Run it to an end that it is expected to come to by itself."""
        command, environment = self.command(*options)
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False, cwd=PROJECT
        )

    def manage(self, *words: str) -> str:
        """Run a management command of this copy; give what it printed."""
        command, environment = self.command()
        return subprocess.run(
            [*command[: command.index("dev")], *words],
            env=environment, check=True, capture_output=True, text=True, cwd=PROJECT,
        ).stdout  # fmt: skip

    @property
    def database_url(self) -> str:
        """Where its PostgreSQL is reached."""
        return database_url(self.var_dir)

    @property
    def redis_url(self) -> str:
        """Where its Valkey is reached."""
        return redis_url(self.var_dir)

    def addresses(self) -> dict[str, str]:
        """What `--env` prints."""
        printed = self.run("--env")
        assert printed.returncode == 0, printed.stderr
        return dict(line.split("=", 1) for line in printed.stdout.split())

    def stop(self, number: int = signal.SIGINT) -> int:
        """Ask the launcher to end; give its exit code."""
        assert self.launcher
        self.launcher.send_signal(number)
        return self.launcher.wait(60)

    def pid(self, role: str, number: int = 1) -> int | None:
        """What the pid file says; None while there is none."""
        try:
            return int((self.var_dir / "run" / f"{role}-{number}.pid").read_text())
        except FileNotFoundError:
            return None

    def leftovers(self) -> list[str]:
        """Everything that still runs and names this copy's directory or port."""
        lines = subprocess.run(
            ["ps", "-ww", "-A", "-o", "pid=,args="], capture_output=True, text=True, check=True
        ).stdout
        return [line for line in lines.splitlines() if str(self.var_dir) in line or f"--port {self.port}" in line]

    def clean_up(self) -> None:
        """End what a failed test left."""
        if self.launcher and self.launcher.poll() is None:
            self.stop(signal.SIGTERM)
        until(lambda: not self.leftovers(), seconds=60, what="The end of every process")
