"""Who runs over a directory: a lock that ends with its last holder, however that ended."""

import fcntl
import os
import time
from pathlib import Path

from config.embedded.places import EmbeddedServerError
from config.embedded.program import folder


def hold(var_dir: Path, name: str, *, seconds: float = 0) -> int | None:
    """
    Take the lock and give its file descriptor; None when somebody else holds it.

    A descendant that inherits the descriptor holds it too. When the process that took it is dead its descendants are
    still ending: that is waited for, `seconds` at most.
    """
    descriptor = os.open(folder(var_dir, "run") / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + seconds
    while not _take(descriptor):
        holder = os.pread(descriptor, 20, 0)
        if time.monotonic() > deadline or (holder and _is_alive(int(holder))):
            os.close(descriptor)
            return None
        time.sleep(0.1)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def hold_servers(var_dir: Path) -> int:
    """Take the lock of the embedded servers; raise EmbeddedServerError when another start has them."""
    descriptor = hold(var_dir, "services", seconds=30)
    if descriptor is None:
        raise EmbeddedServerError(
            f"The servers of {var_dir} run already: stop that copy, or give another VAR_DIR and PORT."
        )
    return descriptor


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
