"""What lies on this machine: failures in the spool, and room on the disks that are written to."""

import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from interventions import spool
from sync.vitals.parts import Part, Verdict, counted, lasting, unknown, worst


def look(note: Callable[[str, Part], None]) -> None:
    """Note the spool and the disks; a directory that cannot be read is not known."""
    for name, read in (("spool", _spool), ("disks", _disks)):
        try:
            note(name, read())
        except OSError as error:
            note(name, unknown(name, f"cannot be read ({type(error).__name__})"))


def _spool() -> Part:
    if not spool.is_usable():
        return Part("spool", Verdict.BAD, "the directory cannot be written: a failure would be lost")
    found = spool.standing()
    oldest = found.oldest_seconds(dt.datetime.now(dt.UTC))
    says = "empty" if found.is_empty else f"{counted(found.waiting, 'failure')} waiting"
    if oldest is not None:
        says += f", the oldest for {lasting(oldest)}"
    if found.unreadable:
        says += f", {counted(found.unreadable, 'file')} set aside: look at them"
    if found.refused:
        says += f", {counted(found.refused, 'failure')} found no room"
    verdict = worst((found.waiting > 0, Verdict.WORRYING), (bool(found.unreadable or found.refused), Verdict.BAD))
    figures = {
        "waiting": found.waiting, "oldest_seconds": oldest, "unreadable": found.unreadable, "refused": found.refused,
    }  # fmt: skip
    return Part("spool", verdict, says, figures)


def _disks() -> Part:
    least = settings.DISK_FREE_PERCENT
    # Avatars that lie in a bucket need no disk of ours.
    places = {"spool": settings.SYNC_SPOOL_DIR} | (
        {"media": settings.MEDIA_ROOT} if settings.MEDIA_STORE == "files" else {}
    )
    found = {name: shutil.disk_usage(_existing(Path(path))) for name, path in places.items()}
    free = {name: 100 * disk.free / disk.total for name, disk in found.items()}
    says = ", ".join(f"{name} {_size(disk.free)} free ({free[name]:.0f} %)" for name, disk in found.items())
    is_full = any(share < least for share in free.values())
    return Part(
        "disks", Verdict.BAD if is_full else Verdict.GOOD, f"{says}; at least {least} % should be" if is_full else says,
        {"free_bytes": {name: disk.free for name, disk in found.items()},
         "free_ratio": {name: round(share / 100, 4) for name, share in free.items()}},
    )  # fmt: skip


def _existing(path: Path) -> Path:
    """Give the nearest directory that is there: before the first upload there is none of avatars."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _size(number: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:,.1f} TB"
