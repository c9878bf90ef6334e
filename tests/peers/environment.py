"""The throw-away virtual environment that peers run in; it is never the project's own."""

import hashlib
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.peers.registry import Peer

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "var" / "bench-peers"
PYTHON = PLACE / "bin" / "python"


def install(peers: Iterable[Peer], *, place: Path = PLACE) -> dict[str, str]:
    """Install what the locks name, one peer after the other; give the error of each that could not be installed."""
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
    errors = {}
    for lock in sorted({one.lock for one in peers if one.package}):
        stamp = place / f".{lock.stem}-installed"
        digest = hashlib.sha256(lock.read_bytes()).hexdigest()
        if stamp.exists() and stamp.read_text() == digest:
            continue
        done = subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", str(lock)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            errors[lock.stem] = (said or done.stderr.splitlines() or ["pip failed"])[-1][:300]
        else:
            stamp.write_text(digest)
    return errors
