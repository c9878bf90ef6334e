"""A peer's process: told on its input what to do, a line of JSON each; answers with a line of JSON."""

import importlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import django
from django.core.management import call_command
from django.db import connection, transaction

from tests.peers import copying
from tests.peers.registry import Peer, peer

FIRST_WITHIN, STALLED_AFTER = 40.0, 5.0
TEXT = "Twelve years with couples and families. " * 5


class Child:
    """One peer in a Django of its own."""

    def __init__(self, which: Peer) -> None:
        self.peer = which
        self.module = importlib.import_module(f"tests.peers.{which.module}")
        self.enqueue = getattr(self.module, "enqueue", None)
        self.rows: list[Any] = []

    def prepare(self) -> dict[str, Any]:
        """Make the peer's own tables; give versions."""
        call_command("migrate", verbosity=0)
        model = importlib.import_module(
            "therapists.models" if self.peer.module == "keepwell" else "tests.peers.models"
        ).Enrollment
        self.rows = list(model.objects.order_by("user_id")[:200])
        try:
            own = version(self.peer.package)
        except (PackageNotFoundError, ValueError):
            own = ""
        return {"version": own, "django": django.get_version(), "python": platform.python_version()}

    def save(self, count: int, start: int) -> list[float]:
        """Save therapists one after the other; give the seconds of each."""
        took = []
        for number in range(start, start + count):
            row = self.rows[number * 7 % len(self.rows)]
            row.bio, row.profile_image_url = f"{TEXT}{number}", f"/media/avatars/{number}.webp"
            begun = time.perf_counter()
            if self.enqueue is None:
                row.save(update_fields=["bio", "profile_image_url"])
            else:
                with transaction.atomic():
                    row.save(update_fields=["bio", "profile_image_url"])
                    self.enqueue(row.user_id)
            took.append(time.perf_counter() - begun)
        return took

    def fill(self, pending: int, poison: bool) -> int:
        """Put everybody's copy behind and leave an update pending for each of the first; give who is the last."""
        with connection.cursor() as cursor:
            # As a table is after a change past every trigger: only what is pending says that copies are behind.
            cursor.execute("SET session_replication_role = replica")
            cursor.execute(
                "UPDATE therapist_enrollments SET bio = CASE WHEN %s AND user_id %% 100 = 0 THEN %s"
                " ELSE md5(random()::text) || %s END",
                [poison, copying.POISON, TEXT],
            )
            cursor.execute("RESET session_replication_role")
            cursor.execute("SELECT user_id FROM therapist_enrollments ORDER BY user_id LIMIT %s", [pending])
            people = [person for (person,) in cursor.fetchall()]
        self.module.fill(people)
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("CHECKPOINT")
        return int(people[-1])

    def drain(self, last: int, seconds: float) -> dict[str, Any]:
        """Bring copies in line for so long at most; give the rate, how many are done and what the peer knows of failures."""
        owed = copying.left(last)
        if hasattr(self.module, "drain"):
            begun = time.perf_counter()
            self.module.drain()
            spent = time.perf_counter() - begun
            done = owed - copying.left(last)
            return self._told(done / spent, owed, done, has_stopped=done < owed)
        workers = [
            subprocess.Popen([sys.executable, "-m", "tests.peers.child", "work", str(number)], start_new_session=True)
            for number in range(self.peer.workers)
        ]
        try:
            rate, left, has_stopped = _watched(last, owed, seconds)
            return self._told(rate, owed, owed - left, has_stopped=has_stopped)
        finally:
            for worker in workers:
                os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()

    def _told(self, rate: float, owed: int, done: int, *, has_stopped: bool) -> dict[str, Any]:
        failures = self.module.failures()
        return {"rate": rate, "owed": owed, "done": done, "has_stopped": has_stopped, "failures": failures}


def _watched(last: int, owed: int, seconds: float) -> tuple[float, int, bool]:
    """
    Give the rate, how many are left, and whether the workers stopped before the time was over.

    The rate is that from the first that was done on: the workers' start does not count.
    """
    begun = time.perf_counter()
    while (first := copying.left(last)) == owed:
        if time.perf_counter() - begun > FIRST_WITHIN:
            raise TimeoutError(f"Its workers did nothing within {FIRST_WITHIN:.0f} s.")
        time.sleep(0.1)
    begun = moved = now = time.perf_counter()
    left = first
    while left and now - begun < seconds and now - moved < STALLED_AFTER:
        time.sleep(0.5)
        before, left, now = left, copying.left(last), time.perf_counter()
        moved = now if left < before else moved
    return (first - left) / max(moved - begun, 0.5), left, bool(left) and now - begun < seconds


def main() -> None:
    """Work as one of a peer's workers, or answer what is asked until the input ends."""
    which = peer(os.environ["PEER"])
    django.setup()
    if sys.argv[1:2] == ["work"]:
        importlib.import_module(f"tests.peers.{which.module}").work(int(sys.argv[2]))
        return
    # What a peer raises ends its process with a traceback, which the asker reads; nobody else is touched.
    child = Child(which)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(getattr(child, asked.pop("do"))(**asked)), file=_ANSWERS, flush=True)


# What a library prints must not be taken for an answer.
_ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

if __name__ == "__main__":
    main()
