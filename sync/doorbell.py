"""Wake the workers without ever making anybody wait: rings are coalesced and sent by a thread of their own."""

import logging
import threading
from collections.abc import Callable

from interventions.correlation import request_id
from interventions.failpoints import reach

logger = logging.getLogger(__name__)


class Doorbell:
    """
    One bell a process.

    `ring()` returns at once whatever the broker does: a frozen one blocks the sending thread alone, and rings that
    come meanwhile become one. A lost ring costs nothing but time; the sweep is the floor.

    What is sent goes under the id of the request that rang; of several that became one, under that of the first.
    """

    def __init__(self) -> None:
        self._send: Callable[[], object] | None = None
        self._wanted = threading.Event()
        self._for = ""
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def connect(self, send: Callable[[], object]) -> None:
        """Say what a ring sends."""
        self._send = send

    def ring(self) -> None:
        """Ask for a worker's attention soon."""
        self._for = self._for or request_id.get()
        self._wanted.set()
        if not self._is_served():
            with self._starting:
                if not self._is_served():
                    self._thread = threading.Thread(target=self._serve, name="doorbell", daemon=True)
                    self._thread.start()

    def _is_served(self) -> bool:
        # Neither a fork, which inherits the object but not the thread, nor an error of our own that ended the thread
        # may leave later rings unheard.
        return self._thread is not None and self._thread.is_alive()

    def _serve(self) -> None:
        try:
            while True:
                self._wanted.wait()
                self._wanted.clear()
                rang, self._for = self._for, ""
                request_id.set(rang)
                if self._send is not None:
                    self._try_to_send(self._send)
        finally:
            # An error of our own ends this thread; whoever rang meanwhile saw it alive and relies on it.
            self._thread = None
            if self._wanted.is_set():
                self.ring()

    def _try_to_send(self, send: Callable[[], object]) -> None:
        reach("sync.before_publish")
        try:
            send()
        except (OSError, RuntimeError) as error:
            logger.warning("sync.doorbell.unheard", extra={"reason": type(error).__name__})
        reach("sync.after_publish")


bell = Doorbell()
