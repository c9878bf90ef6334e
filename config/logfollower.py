"""Show what the processes log on one terminal, each line with the name of who said it."""

import os
from pathlib import Path
from typing import BinaryIO, TextIO


class LogFollower:
    """The ends of some log files, followed through their rotation."""

    def __init__(self, output: TextIO) -> None:
        self.output = output
        self.logs: list[_Log] = []

    def follow(self, logs: dict[str, Path]) -> None:
        """Show from now on what is added to these files, under these names, and to no others."""
        width = max(map(len, logs), default=0)
        self.logs = [_Log(name.ljust(width), path) for name, path in logs.items()]

    def show(self) -> None:
        """Write the lines that were added since the last time."""
        for log in self.logs:
            for line in log.new_lines():
                self.output.write(f"{log.name} | {line}\n")
        self.output.flush()


class _Log:
    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        self.file: BinaryIO | None = None
        self.rest = b""
        if path.exists():
            self.file = path.open("rb")
            self.file.seek(0, 2)

    def new_lines(self) -> list[str]:
        added = self.file.read() if self.file else b""
        if not added and self._was_replaced():
            if self.file:
                self.file.close()
            self.file = self.path.open("rb")
            added = self.file.read()
        *lines, self.rest = (self.rest + added).split(b"\n")
        return [line.decode(errors="replace") for line in lines]

    def _was_replaced(self) -> bool:
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return False
        return self.file is None or now.st_ino != os.fstat(self.file.fileno()).st_ino
