"""Real servers that alerts are sent to: one that takes JSON over HTTP, and one that takes mail. Each can be made to refuse or to drip."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Board:
    """What a server of one kind has taken, and what it does with the next one: take, refuse or hang."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.manner = "take"
        self.is_going = threading.Event()
        self.began = threading.Event()
        self.port = 0

    @property
    def url(self) -> str:
        """The address as apprise knows it."""
        # Longer than apprise waits by itself: a machine that tests keep busy answers late.
        return f"json://127.0.0.1:{self.port}/hidden-token?cto=15&rto=15"


@contextmanager
def http_board() -> Iterator[Board]:
    """Let a board listen for JSON."""
    board = Board()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = json.loads(self.rfile.read(int(self.headers["content-length"])))
            board.began.set()
            if board.manner == "hang":
                board.is_going.wait(60)
                return
            if board.manner == "drip":
                self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                while not board.is_going.wait(0.2):
                    self.wfile.write(b"x: y\r\n")
                return
            if board.manner == "take":
                board.taken.append(said)
            self.send_response(200 if board.manner == "take" else 503)
            self.end_headers()
            self.wfile.write(b"hidden-token was refused" if board.manner == "refuse" else b"")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who hung up is not told
        yield from _serving(server, board)


@contextmanager
def post_office() -> Iterator[Board]:
    """Let a board listen for mail."""
    board = Board()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 here")
            while line := self.rfile.readline().decode().strip():
                word = line.split(" ")[0].upper()
                if word == "RCPT" and board.manner == "refuse":
                    self.say("550 somebody@example.org is not known")
                elif word == "DATA":
                    self.say("354 go on")
                    board.taken.append(self.message())
                    self.say("250 taken")
                elif word == "QUIT":
                    return self.say("221 bye")
                else:
                    self.say("250 fine")
            return None

        def say(self, line: str) -> None:
            said = f"{line}\r\n".encode()
            while board.manner == "drip" and said and not board.is_going.wait(1):
                self.wfile.write(said[:1])
                said = said[1:]
            self.wfile.write(said)

        def message(self) -> Message:
            lines = []
            while (line := self.rfile.readline()) != b".\r\n":
                lines.append(line)
            return message_from_bytes(b"".join(lines), policy=default)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who hung up is not told
        yield from _serving(server, board)


def _serving(server: Any, board: Board) -> Iterator[Board]:
    server.daemon_threads = True
    board.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
    thread.start()
    try:
        yield board
    finally:
        board.is_going.set()
        server.shutdown()
        thread.join()
