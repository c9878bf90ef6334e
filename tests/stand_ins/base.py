"""
A server that stands in for an outside service: speaks its protocol over a real socket, and fails as it is told to.

A stand-in is a module here with a class of its own named `Service`, a subclass of `Protocol`:

    class Service(Protocol):
        def key(self, request: Request) -> str | None: ...     # the idempotency key, where the protocol has one
        def answer(self, request: Request) -> Answer: ...      # refuse with a 4xx, or take effect and say what came of it

`python tests/stand_ins listing:8101 assistant:8102` starts some in one process (port 0: any free one) and prints one
line of JSON, name to address, when all listen. Tests use `tests.stand_ins.control.started("listing")`. The standard
library is all it needs; the product never imports it.

What it does is a script, a list of steps, changed while it runs by `PUT /_control/script`. The first step that matches a
request and is not used up is taken; without one all is well. A step:

    {"do": "ok|slow|hang|drip|drip_headers|reset|status|bad_body|redirect|lost",
     "times": 3,              how often; absent: always
     "when": "text",          only for requests whose path, key or body holds it
     "status": 503,           of `status`; 200 to 599
     "retry_after": 2,        the header of `status`, in seconds or as it stands
     "seconds": 0.3,          of `slow` and `hang` (absent: until stopped); of `drip` and `drip_headers` between two bytes
     "to": "http://…",        of `redirect`; absent: this server's own control address, on loopback
     "body": "…"}             of `bad_body` (absent: half an object of JSON) and `status`

`lost` takes effect and cuts the connection without an answer; `reset` cuts it before anything. A key that took effect
before is answered as it was then and has no second effect. `/_control/script` gives the script alone; `GET /_control/`
gives `{"received": [...], "effects": [...], "script": [...]}`; `DELETE /_control/` forgets all three. Received: `{at,
method, path, headers (names in lower case), body (text), key, did}`; effects: `{key, path, body}`, in the order in which
they were taken.
"""

import json
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CONTROL = "/_control/"
# Read no more than that of anybody's body, and remember no more requests than that.
MOST_BYTES, MOST_RECEIVED = 1_000_000, 20_000


@dataclass(frozen=True)
class Request:
    """What was asked. Names of headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: str


@dataclass(frozen=True)
class Answer:
    """What is answered: `body` as JSON, unless it is None. `is_effect`: something was done that must not be done twice."""

    status: int = 200
    body: Any = None
    is_effect: bool = False


class Protocol(ABC):
    """What a service understands; its state may be kept in the object, one request has it at a time."""

    def __init__(self, environment: dict[str, str]) -> None:
        """Take the environment of the process, where a secret may stand."""
        self.environment = environment

    def key(self, request: Request) -> str | None:
        """Give the key under which this request has one effect; None: the protocol has none."""
        return request.headers.get("idempotency-key")

    @abstractmethod
    def answer(self, request: Request) -> Answer:
        """Answer as the service does while all is well."""

    def forget(self) -> None:  # noqa: B027 - most keep nothing
        """Begin anew."""


@dataclass
class _Memory:
    received: list[dict[str, Any]] = field(default_factory=list)
    effects: list[dict[str, Any]] = field(default_factory=list)
    script: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)


class StandIn(ThreadingHTTPServer):
    """One service at one address of this machine."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, protocol: Protocol, port: int = 0) -> None:
        """Listen at once; `serve_forever` answers."""
        super().__init__(("127.0.0.1", port), _Handler)
        self.protocol = protocol
        self.lock = threading.Lock()
        self.is_stopped = threading.Event()
        self.memory = _Memory()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away."""

    def take_step(self, request: Request) -> dict[str, Any]:
        """Put a request on record with what will be done about it."""
        with self.lock:
            key = self.protocol.key(request)
            step: dict[str, Any] = {"do": "ok"}
            step = next((s for s in self.memory.script if _matches(s, request, key)), step)
            if "times" in step:
                step["times"] -= 1
            if len(self.memory.received) < MOST_RECEIVED:
                entry: dict[str, Any] = asdict(request) | {"at": time.time(), "key": key, "did": step["do"]}
                self.memory.received.append(entry)
            return dict(step)

    def answer(self, request: Request) -> Answer:
        """Answer by the protocol, each key's effect once."""
        with self.lock:
            key = self.protocol.key(request)
            if key is not None and key in self.memory.answers:
                return self.memory.answers[key]
            answer = self.protocol.answer(request)
            if answer.is_effect:
                self.memory.effects.append({"key": key, "path": request.path, "body": request.body})
                if key is not None:
                    self.memory.answers[key] = answer
            return answer

    def control(self, request: Request) -> Answer:
        """Tell or change what is remembered."""
        with self.lock:
            if request.method == "PUT":
                self.memory.script = json.loads(request.body)
            elif request.method == "DELETE":
                self.memory = _Memory()
                self.protocol.forget()
            memory = self.memory
            if request.path == f"{CONTROL}script":
                return Answer(200, {"script": [dict(step) for step in memory.script]})
            told = {"received": memory.received, "effects": memory.effects, "script": memory.script}
            # A copy: it is written out without the lock.
            return Answer(200, json.loads(json.dumps(told)))


class _Handler(BaseHTTPRequestHandler):
    server: StandIn
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, *args: object) -> None:
        pass

    def _any(self) -> None:
        request = self._request()
        if request.path.startswith(CONTROL):
            self._send(self.server.control(request))
            return
        step = self.server.take_step(request)
        getattr(self, f"_{step['do']}")(request, step)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 - names of the standard library

    def _request(self) -> Request:
        length = min(int(self.headers.get("Content-Length") or 0), MOST_BYTES)
        body = self.rfile.read(length).decode(errors="replace")
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command or "", self.path, headers, body)

    def _send(self, answer: Answer, **headers: str) -> None:
        body = b"" if answer.body is None else json.dumps(answer.body).encode()
        self._write(answer.status, body, **headers)

    def _write(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _cut(self) -> None:
        # Closed without waiting: the other side sees a reset, not an end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _ok(self, request: Request, step: dict[str, Any]) -> None:
        self._send(self.server.answer(request))

    def _slow(self, request: Request, step: dict[str, Any]) -> None:
        self.server.is_stopped.wait(step.get("seconds", 0.3))
        self._send(self.server.answer(request))

    def _hang(self, request: Request, step: dict[str, Any]) -> None:
        self.server.is_stopped.wait(step.get("seconds"))
        self._cut()

    def _drip(self, request: Request, step: dict[str, Any]) -> None:
        body = json.dumps(self.server.answer(request).body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) + 10_000))
        self.end_headers()
        for byte in body.ljust(len(body) + 10_000):
            self.wfile.write(bytes([byte]))
            if self.server.is_stopped.wait(step.get("seconds", 0.1)):
                break
        self._cut()

    def _drip_headers(self, request: Request, step: dict[str, Any]) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Drops: ")
        for byte in b"." * 10_000:
            self.wfile.write(bytes([byte]))
            if self.server.is_stopped.wait(step.get("seconds", 0.1)):
                break
        self._cut()

    def _reset(self, request: Request, step: dict[str, Any]) -> None:
        self._cut()

    def _lost(self, request: Request, step: dict[str, Any]) -> None:
        self.server.answer(request)
        self._cut()

    def _status(self, request: Request, step: dict[str, Any]) -> None:
        headers = {"Retry_After": str(step["retry_after"])} if "retry_after" in step else {}
        self._write(int(step["status"]), str(step.get("body", "{}")).encode(), **headers)

    def _bad_body(self, request: Request, step: dict[str, Any]) -> None:
        self._write(200, str(step.get("body", '{"half": ')).encode())

    def _redirect(self, request: Request, step: dict[str, Any]) -> None:
        self._write(307, b"", Location=str(step.get("to", self.server.address + CONTROL)))


def _matches(step: dict[str, Any], request: Request, key: str | None) -> bool:
    if step.get("times", 1) <= 0:
        return False
    wanted = str(step.get("when", ""))
    return any(wanted in text for text in (request.path, key or "", request.body))
