"""A call's whole time: whatever comes drop by drop, also a handshake or headers, is cut when it is over."""

import contextlib
import socket
import threading
from contextvars import ContextVar
from types import TracebackType

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class Deadline:
    """Cuts every connection that is opened within it once its time is over. `is_over` from just before that on."""

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._twins: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> "Deadline":
        self._token = _current.set(self)
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        _current.reset(self._token)
        with self._lock:
            for twin in self._twins:
                twin.close()
            self._twins.clear()

    def bound(self, session: requests.Session) -> None:
        """Watch whatever the session connects."""
        for adapter in session.adapters.values():
            if isinstance(adapter, HTTPAdapter):
                adapter.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def watch(self, connected: socket.socket) -> socket.socket:
        """Cut this one too; gives it back."""
        # A twin, for TLS takes the socket itself over; what is shut down is the connection of both.
        twin = connected.dup()
        with self._lock:
            self._twins.append(twin)
        if self.is_over:
            self._cut()
        return connected

    def _cut(self) -> None:
        self.is_over = True
        with self._lock, contextlib.suppress(OSError):
            for twin in self._twins:
                twin.shutdown(socket.SHUT_RDWR)


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


def watched(connected: socket.socket) -> socket.socket:
    """Let the deadline at hand, if there is one, cut this connection too; gives it back."""
    deadline = _current.get()
    return connected if deadline is None else deadline.watch(connected)


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return watched(super()._new_conn())


class _SecureConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return watched(super()._new_conn())


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection
