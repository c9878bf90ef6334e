"""Run one program for as long as our parent lives: pid file, its own stop signal, and nothing left behind.

Started as a script of its own, with the standard library only: the launcher and supervisor start every program through
it. Linux tells a child that its parent died (PDEATHSIG); elsewhere the parent's id is looked at twice a second.
"""

import argparse
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
TICK_SECONDS = 0.5
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Guard:
    """One guarded program, from its start to the end of its last child."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.parent = os.getppid()
        self.is_stopping = False
        self.wakeup, writer = os.pipe()
        os.set_blocking(self.wakeup, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)  # only wakes us
        die_with_parent(signal.SIGTERM)
        if LIBC:  # orphans of our program come to us, wherever they hid, and are ended with it
            LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)

    def run(self) -> int:
        """Run the program to its end and give the exit status that tells it."""
        if not self._wait_for_mark():
            return 0
        child = self._start()
        try:
            code = self._watch(child)
        finally:
            self._end_orphans(child.pid)
            if self.options.pid_file:
                self.options.pid_file.unlink(missing_ok=True)
        if self.is_stopping:
            return 0
        return code if code >= 0 else 128 - code

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.is_stopping = True

    def _should_stop(self) -> bool:
        if os.getppid() != self.parent:
            self.is_stopping = True
        return self.is_stopping

    def _pause(self) -> None:
        select.select([self.wakeup], [], [], TICK_SECONDS)
        with suppress(BlockingIOError):
            os.read(self.wakeup, 4096)

    def _wait_for_mark(self) -> bool:
        mark: Path | None = self.options.after
        while mark and not mark.exists():
            if self._should_stop():
                return False
            select.select([self.wakeup], [], [], 0.1)
        return True

    def _start(self) -> "subprocess.Popen[bytes]":
        guard, stop = os.getpid(), self.options.signal

        def in_child() -> None:
            die_with_parent(stop)
            if os.getppid() != guard:
                os._exit(1)

        user, _, group = (self.options.user or "").partition(":")
        child = subprocess.Popen(
            self.options.command,
            process_group=0,
            preexec_fn=in_child,  # no threads here; runs after the change of user, which clears PDEATHSIG
            user=int(user) if user else None,
            group=int(group) if group else None,
            extra_groups=[] if user else None,
        )
        if self.options.pid_file:
            fresh = self.options.pid_file.with_suffix(".new")
            fresh.write_text(f"{child.pid}\n")
            fresh.rename(self.options.pid_file)
        return child

    def _watch(self, child: "subprocess.Popen[bytes]") -> int:
        deadline = None
        while (code := child.poll()) is None:
            if deadline is None and self._should_stop():
                child.send_signal(self.options.signal)
                deadline = time.monotonic() + self.options.grace
            if deadline is not None and time.monotonic() > deadline:
                child.kill()
            self._pause()
        return code

    def _end_orphans(self, group: int) -> None:
        """End what the program left: at once, or after `linger` seconds where children end themselves in order."""
        deadline = time.monotonic() + self.options.linger
        while True:
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            orphans = children()
            if time.monotonic() >= deadline:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, signal.SIGKILL)
                for orphan in orphans:
                    with suppress(ProcessLookupError):
                        os.kill(orphan, signal.SIGKILL)
            if not orphans:
                return
            time.sleep(0.02)


def die_with_parent(number: int) -> None:
    """Ask Linux to send us the signal when our parent dies."""
    if LIBC:
        LIBC.prctl(PR_SET_PDEATHSIG, int(number))


def children() -> list[int]:
    """Give the ids of our children; empty where the system has no such list."""
    own = os.getpid()
    try:
        return [int(child) for child in Path(f"/proc/{own}/task/{own}/children").read_text().split()]
    except OSError:
        return []


def read_options() -> argparse.Namespace:
    """Read the command line: options, `--`, the program and its arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pid-file", type=Path, help="holds the program's id while it runs")
    parser.add_argument("--after", type=Path, help="start when this file exists")
    parser.add_argument("--signal", type=lambda name: signal.Signals[f"SIG{name}"], default=signal.SIGTERM)
    parser.add_argument("--grace", type=float, default=10, help="seconds from the stop signal to SIGKILL")
    parser.add_argument("--linger", type=float, default=0, help="seconds that orphans may take to end themselves")
    parser.add_argument("--user", help="uid:gid to run the program as")
    parser.add_argument("command", nargs="+")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(Guard(read_options()).run())
