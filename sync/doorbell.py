"""Wake the workers without ever making anybody wait: rings are coalesced and sent by a thread of their own."""

import logging
import os
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Doorbell:
    """
    One bell a process.

    `ring()` returns at once whatever the broker does: a frozen one blocks the sending thread alone, and rings that
    come meanwhile become one. A lost ring costs nothing but time; the sweep is the floor.
    """

    def __init__(self) -> None:
        self._send: Callable[[], object] | None = None
        self._wanted = threading.Event()
        self._starting = threading.Lock()
        self._owner = 0

    def connect(self, send: Callable[[], object]) -> None:
        """Say what a ring sends."""
        self._send = send

    def ring(self) -> None:
        """Ask for a worker's attention soon."""
        self._wanted.set()
        # A fork inherits the flag but not the thread.
        if self._owner != os.getpid():
            with self._starting:
                if self._owner != os.getpid():
                    threading.Thread(target=self._serve, name="doorbell", daemon=True).start()
                    self._owner = os.getpid()

    def _serve(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._send is None:
                continue
            try:
                self._send()
            # Whatever it was: a thread that dies would leave every later ring of this process unheard.
            except Exception as error:  # noqa: BLE001
                logger.warning("sync.doorbell.unheard", extra={"reason": type(error).__name__})


bell = Doorbell()
