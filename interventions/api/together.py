"""Many who send the same at once: one of them looks, and the others get what it found."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import SimpleCookie
from threading import Condition, Lock
from typing import Any

from django.http import HttpRequest, HttpResponse

from interventions.api.keys import KEYED, NAMES, REPLAYED
from interventions.api.outside import PREFIX
from interventions.idempotency import WAIT_MS

# What is longer is read by its parser alone.
LONGEST_BODY = 64 * 1024
UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# No answer depends on these. All other headers have to be the same: who asks, and everything that may count.
PASSING = frozenset({"HTTP_X_REQUEST_ID", "HTTP_TRACEPARENT", "HTTP_TRACESTATE"})
COUNTED = ("REQUEST_METHOD", "CONTENT_TYPE", "CONTENT_LENGTH", "REMOTE_ADDR", "wsgi.url_scheme")
_KEYS = tuple(f"HTTP_{name.upper().replace('-', '_')}" for name in NAMES)


@dataclass(frozen=True)
class _Replay:
    """A replayed answer as it was before anything of the one request's own was added."""

    status: int
    headers: tuple[tuple[str, str], ...]
    cookies: "SimpleCookie"
    content: bytes
    match: Any


class _Crowd:
    """Those who send the same request to this process at this moment; `answered` is the number of the look that `replay` is from."""

    def __init__(self, lock: Lock) -> None:
        self.changed = Condition(lock)
        self.people = self.looks = self.answered = 0
        self.is_looking = False
        self.replay: _Replay | None = None


class Together:
    """
    Middleware: of keyed requests that are the same to the byte, also in who asks, one at a time is answered.

    The others in this process wait. A replay that one of them got is theirs too, where the look for it, at who may and
    at what is kept, began after they had come. So fifty duplicates cost a few looks; nobody waits longer than WAIT_MS.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self._lock = Lock()
        self._crowds: dict[bytes, _Crowd] = {}

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request, or give it what its like was answered."""
        mark = _mark(request)
        if mark is None:
            return self.get_response(request)
        with self._lock:
            crowd = self._crowds.get(mark) or self._crowds.setdefault(mark, _Crowd(self._lock))
            crowd.people += 1
            before = crowd.looks
        try:
            return self._answered(request, crowd, before)
        finally:
            with self._lock:
                crowd.people -= 1
                if not crowd.people:
                    del self._crowds[mark]

    def _answered(self, request: HttpRequest, crowd: _Crowd, before: int) -> HttpResponse:
        with self._lock:
            is_turn = crowd.changed.wait_for(lambda: not crowd.is_looking or crowd.answered > before, WAIT_MS / 1000)
            found = crowd.replay if crowd.answered > before else None
            if is_turn and found is None:
                crowd.is_looking, crowd.looks = True, crowd.looks + 1
                number = crowd.looks
        if found is not None:
            return _again(request, found)
        if not is_turn:
            return self.get_response(request)
        try:
            response = self.get_response(request)
            found = _replay(request, response)
            return response
        finally:
            with self._lock:
                crowd.is_looking = False
                if found is not None:
                    crowd.answered, crowd.replay = number, found
                crowd.changed.notify_all()


def _mark(request: HttpRequest) -> bytes | None:
    """Give what is the same for the same request of the same caller; None for one without a key, or with a long body."""
    meta = request.META
    if request.method not in UNSAFE or not request.path.startswith(PREFIX) or not any(name in meta for name in _KEYS):
        return None
    length = meta.get("CONTENT_LENGTH") or "0"
    if not length.isdigit() or int(length) > LONGEST_BODY:
        return None
    names = sorted(name for name in meta if name.startswith("HTTP_") and name not in PASSING)
    told = [(name, str(meta.get(name, ""))) for name in (*COUNTED, *names)]
    return hashlib.sha256(repr((request.get_full_path(), told, request.body)).encode()).digest()


def _replay(request: HttpRequest, response: HttpResponse) -> _Replay | None:
    if REPLAYED not in response or response.status_code >= 400:
        return None
    return _Replay(
        response.status_code, tuple(response.items()), response.cookies, response.content, request.resolver_match
    )


def _again(request: HttpRequest, found: _Replay) -> HttpResponse:
    KEYED.labels("replayed").inc()
    request.resolver_match = found.match
    response = HttpResponse(found.content, status=found.status, headers=dict(found.headers))
    response.cookies = found.cookies
    return response
