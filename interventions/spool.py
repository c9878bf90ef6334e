"""
Failures that PostgreSQL did not take, in files until it does.

Each append is one file with a checksum, so that no lock is needed, a torn one is never taken for a record and stops no
other. What is in it is durable before anybody is told that it was noted.
"""

import contextlib
import datetime as dt
import hashlib
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from interventions.failpoints import reach

logger = logging.getLogger(__name__)

Record = Mapping[str, Any]

# When it was begun (nanoseconds), how many records are in it, and a random word: whoever looks need not open it.
_NAME = re.compile(r"(\d{20})-(\d{1,9})-[0-9a-f]{32}\.records")
_CLOSED = re.compile(r"refused-[0-9a-f]{32}")
_REFUSED = "refused"
# One byte for each failure that found no room; from here on it says "at least".
MOST_REFUSED_COUNTED = 10**7
# A file that is not whole and younger than this may still be in the hands of its writer.
WRITING_SECONDS = 60
LARGEST_FILE = 32 * 2**20
# Looking through the directory costs more than an append: several processes together may exceed the bound by what they
# write within a second.
_COUNTED_FOR_SECONDS = 1.0
_counted: dict[Path, tuple[float, int]] = {}


class SpoolRefused(Exception):
    """The spool kept nothing: it is full, or its directory cannot be written."""


class Unreadable(Exception):
    """A file of the spool is not as it was written."""


@dataclass(frozen=True)
class Standing:
    """What the spool holds: records that wait and since when, files set aside, and failures that found no room."""

    waiting: int = 0
    oldest_at: dt.datetime | None = None
    unreadable: int = 0
    refused: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to be taken in or looked at."""
        return not (self.waiting or self.unreadable or self.refused)

    def oldest_seconds(self, now: dt.datetime) -> int | None:
        """How long the oldest record has waited; None while none waits."""
        return None if self.oldest_at is None else round((now - self.oldest_at).total_seconds())


def append(records: Sequence[Record]) -> None:
    """
    Keep the records in one file; they are on the disk, and so is the file's name, when this returns.

    They must be JSON and hold no personal data. Raises SpoolRefused where that cannot be: then nothing is kept.
    """
    folder: Path = settings.SYNC_SPOOL_DIR
    try:
        _make(folder)
        has_room = _has_room(folder, len(records))
        if has_room:
            _write(folder, records)
        else:
            _count_refused(folder, len(records))
    except OSError as error:
        logger.critical("interventions.spool.broken", extra={"code": type(error).__name__, "errno": error.errno})
        raise SpoolRefused from error
    if not has_room:
        logger.critical("interventions.spool.full", extra={"most": settings.SYNC_SPOOL_MOST})
        raise SpoolRefused


def waiting() -> list[Path]:
    """List the files with records, oldest first. Raises OSError where the directory cannot be read."""
    folder: Path = settings.SYNC_SPOOL_DIR
    return [folder / name for name in sorted(_names(folder)) if _NAME.fullmatch(name)]


def read(path: Path) -> list[Record]:
    """Give the records of a file; none where it is gone or still being written. Raises Unreadable."""
    try:
        found = path.stat()
        whole = path.read_bytes() if found.st_size <= LARGEST_FILE else b""
    except FileNotFoundError:
        return []  # somebody else has taken it in
    except OSError as error:
        raise Unreadable from error
    checksum, _, body = whole.partition(b"\n")
    if checksum != _checksum(body):
        if time.time() - found.st_mtime < WRITING_SECONDS:
            return []
        raise Unreadable
    try:
        records: list[Record] = json.loads(body)
    except ValueError as error:
        raise Unreadable from error
    return records


def remove(path: Path) -> None:
    """Forget a file whose records stand in the database, committed."""
    path.unlink(missing_ok=True)


def set_aside(path: Path) -> None:
    """Put a file out of the way and leave it there, for a person to look at."""
    with contextlib.suppress(FileNotFoundError):
        path.rename(path.with_suffix(".unreadable"))
        logger.error("interventions.spool.unreadable", extra={"file": path.name})


def take_refused() -> tuple[uuid.UUID, Path, int] | None:
    """
    Give a count of failures that found no room, its file and its id; both stay until `remove` is called for the file.

    None where there is nothing to tell, or not yet: a count is closed first and told the next time, when nobody adds to
    it any more. Raises OSError.
    """
    folder: Path = settings.SYNC_SPOOL_DIR
    for name in _names(folder):
        if _CLOSED.fullmatch(name):
            with contextlib.suppress(FileNotFoundError):
                path = folder / name
                return uuid.UUID(name.removeprefix(f"{_REFUSED}-")), path, path.stat().st_size
    with contextlib.suppress(FileNotFoundError):
        (folder / _REFUSED).rename(folder / f"{_REFUSED}-{uuid.uuid4().hex}")
    return None


def standing() -> Standing:
    """Say what the spool holds. Raises OSError where its directory cannot be read."""
    folder: Path = settings.SYNC_SPOOL_DIR
    records, begun, unreadable, refused = 0, [], 0, 0
    for name in _names(folder):
        if known := _NAME.fullmatch(name):
            records += int(known[2])
            begun.append(int(known[1]))
        elif name == _REFUSED or _CLOSED.fullmatch(name):
            with contextlib.suppress(FileNotFoundError):
                refused += (folder / name).stat().st_size
        else:
            unreadable += 1
    oldest = dt.datetime.fromtimestamp(min(begun) / 10**9, dt.UTC) if begun else None
    return Standing(records, oldest, unreadable, refused)


def is_usable() -> bool:
    """Tell whether a failure could be kept now, for all that can be seen without keeping one."""
    folder: Path = settings.SYNC_SPOOL_DIR
    try:
        _make(folder)
    except OSError:
        return False
    return os.access(folder, os.R_OK | os.W_OK | os.X_OK)


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []


def _make(folder: Path) -> None:
    if folder.is_dir():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sync_folder(folder.parent)


def _has_room(folder: Path, wanted: int) -> bool:
    most: int = settings.SYNC_SPOOL_MOST
    at, count = _counted.get(folder, (0.0, most))
    if count + wanted > most or time.monotonic() - at > _COUNTED_FOR_SECONDS:
        now = standing()
        at, count = time.monotonic(), now.waiting + now.unreadable
    if count + wanted > most:
        return False
    _counted[folder] = (at, count + wanted)
    return True


def _write(folder: Path, records: Sequence[Record]) -> None:
    body = json.dumps(records, separators=(",", ":")).encode()
    path = folder / f"{time.time_ns():020d}-{len(records)}-{uuid.uuid4().hex}.records"
    try:
        with open(path, "xb", opener=_private) as file:
            file.write(_checksum(body) + b"\n" + body)
            file.flush()
            reach("interventions.spool.before_sync")
            os.fsync(file.fileno())
        _sync_folder(folder)
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def _count_refused(folder: Path, number: int) -> None:
    with open(folder / _REFUSED, "ab", opener=_private, buffering=0) as file:
        if file.tell() < MOST_REFUSED_COUNTED:
            file.write(b"." * number)


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
