"""What writers were promised: a line on disk before each write and another after its answer; and the verdict at the end."""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# The avatar may be written in three places at once: there the highest revision is the last write, else the order of one
# writer's lines, for a spot has one writer.
AVATAR = "avatar"
# Of an address every one that was ever answered as saved must be known, the last as their own and all others as given up.
ADDRESS = "email"


def spot(fact: str, person: int) -> str:
    """Name what is written."""
    return f"{fact}:{person}"


class Journal:
    """One writer's own file; every line is on disk before the writer goes on."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._number = 0

    def begin(self, writes: Mapping[str, Any]) -> int:
        """Say what is about to be written; give the line's number."""
        self._number += 1
        self._add({"begun": self._number, "writes": dict(writes)})
        return self._number

    def acknowledge(self, number: int, revision: int = 0) -> None:
        """Say that the write was answered as done, as the avatar's revision where it was one."""
        self._add({"acknowledged": number, "revision": revision})

    def fail(self, number: int, why: object) -> None:
        """Say that the write was refused before any commit was asked for: it must not be there."""
        self._add({"failed": number, "why": str(why)})

    def _add(self, line: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(line).encode() + b"\n")
        os.fsync(self._file)


@dataclass
class Told:
    """What all journals say together. A write without a second line may have happened or not."""

    acknowledged: int = 0
    # By reason: a status, a SQLSTATE, or nobody there.
    failed: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    # Of each spot, the value that must stand there unless an unknown write came later.
    last: dict[str, Any] = field(default_factory=dict)
    possible: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    addresses: set[tuple[int, str]] = field(default_factory=set)
    _revisions: dict[str, int] = field(default_factory=dict)

    def lost(self, found: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Find every spot that holds neither its last acknowledged value nor one of unknown outcome."""
        return {
            spot: (value, found.get(spot))
            for spot, value in self.last.items()
            if found.get(spot) != value and found.get(spot) not in self.possible[spot]
        }

    def read(self, path: Path) -> None:
        """Take in one journal; those of one writer in the order in which it wrote them."""
        begun: dict[int, dict[str, Any]] = {}
        for line in _lines(path):
            if "begun" in line:
                begun[line["begun"]] = line["writes"]
            elif "failed" in line:
                begun.pop(line["failed"])
                self.failed[f"{path.name.split('-')[0]} {line['why']}"] += 1
            else:
                self.acknowledged += 1
                for spot, value in begun.pop(line["acknowledged"]).items():
                    fact, person = spot.split(":")
                    if fact == ADDRESS:
                        self.addresses.add((int(person), value))
                    if not spot.startswith(AVATAR) or line["revision"] > self._revisions.get(spot, 0):
                        self.last[spot], self._revisions[spot] = value, line["revision"]
        self.unknown += len(begun)
        for writes in begun.values():
            for spot, value in writes.items():
                self.possible[spot].append(value)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return  # the writer was killed in the middle of its last line
