"""The real streams process for tests, and somebody who listens to it over real HTTP."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings

from interventions.models import StreamMark
from tests import fakes
from tests.processes import PROJECT, free_ports, is_alive, until
from therapists.demo.cast import signed_in
from therapists.models import Enrollment, User

EVENTS = "/api/v1/events/"


@dataclass
class StreamsProcess:
    """One streams process over the test's database, as `manage.py dev` starts it."""

    directory: Path
    port: int = field(default_factory=free_ports)
    settings: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    def start(self, **words: str) -> None:
        """Start it and wait until it answers."""
        own = {"DATABASE_URL": fakes.database_url(), "PORT": str(self.port - 1), "VAR_DIR": str(self.directory / "var")}
        own["SECRET_KEY"] = settings.SECRET_KEY
        environment = dict(os.environ) | own | self.settings | words
        script = str(Path(sys.executable).with_name("uvicorn"))
        command = [script, "--host", "127.0.0.1", "--port", str(self.port), "--lifespan", "on", "--no-access-log"]
        command += ["--timeout-graceful-shutdown", "3", "config.events:application"]
        with (self.directory / f"streams-{self.port}.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=PROJECT)
        until(self.answers, seconds=30, what="The streams process")
        # What was written before anybody ever looked is told to nobody.
        until(StreamMark.objects.exists, what="The first look")

    def answers(self) -> bool:
        """Tell whether it takes requests."""
        try:
            return bool(self.ask("/health/live").status == 200)
        except OSError:
            return False

    def ask(self, path: str = EVENTS, headers: dict[str, str] | None = None, method: str = "GET") -> Any:
        """Ask once and give the whole answer, with its text as `said`."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        line.request(method, path, headers=headers or {})
        answer: Any = line.getresponse()
        is_stream = (answer.headers["content-type"] or "").startswith("text/event-stream")
        answer.said = "" if is_stream else answer.read().decode()
        line.close()
        return answer

    @property
    def log(self) -> str:
        """What it has written to its log."""
        return (self.directory / f"streams-{self.port}.log").read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it; give its exit code."""
        assert self.process
        if is_alive(self.process.pid):
            self.process.send_signal(number)
        return self.process.wait(20)


class Listener:
    """Somebody with a stream open: what came is kept, until the stream ends."""

    def __init__(self, port: int, headers: dict[str, str], query: str = "") -> None:
        self.line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.line.request("GET", f"{EVENTS}{query}", headers=headers)
        self.socket = self.line.sock
        self.answer = self.line.getresponse()
        assert self.answer.status == 200, self.answer.read()
        self.messages: list[dict[str, Any]] = []
        self.is_over = False
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        until(lambda: bool(self.messages) or self.is_over, what="The first message")

    def _read(self) -> None:
        found: dict[str, Any] = {}
        try:
            while line := self.answer.readline():
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "data":
                    found |= json.loads(value)
                elif name == "id":
                    found["event"] = value
                elif not name and found:
                    self.messages.append(found)
                    found = {}
        except (AttributeError, OSError, ValueError, http.client.HTTPException):
            pass  # it broke off: that is an end too
        self.is_over = True

    @property
    def topics(self) -> list[str]:
        """What came, by topic, without the first word of a stream."""
        return [message["topic"] for message in self.messages if message["topic"] != "ready"]

    @property
    def last(self) -> str:
        """The newest event's id."""
        return str(self.messages[-1]["event"])

    def hears(self, topic: str, subject: object = None, *, times: int = 1) -> None:
        """Wait until it came so often; fail when it did not in time."""
        about = None if subject is None else str(subject)

        def came() -> bool:
            found = [m for m in self.messages if m["topic"] == topic and (about is None or m["id"] == about)]
            return len(found) >= times

        until(came, what=f"{topic} about {about} in {self.messages}")

    def ends(self, *, seconds: float = 10) -> None:
        """Wait until the stream is over."""
        until(lambda: self.is_over, seconds=seconds, what="The end of the stream")

    def close(self) -> None:
        """Close it from this side."""
        # Whoever reads holds the answer's lock until then.
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)
        self.answer.close()
        self.line.close()


Listen = Callable[..., Listener]


@contextmanager
def listening(streams: StreamsProcess) -> Iterator[Listen]:
    """Open streams as somebody; each is closed at the end."""
    opened: list[Listener] = []

    def one(person: User, query: str = "", **headers: str) -> Listener:
        opened.append(Listener(streams.port, signed_in(person) | headers, query))
        return opened[-1]

    try:
        yield one
    finally:
        for listener in opened:
            listener.close()


def edit(person: User, bio: str = "Another one.") -> None:
    """Save another bio of somebody, as their page does."""
    enrollment = Enrollment.objects.get(user=person)
    enrollment.bio = bio
    enrollment.save(update_fields=["bio"])
