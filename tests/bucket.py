"""A small server that speaks as much of S3 as a store of files asks: put, get, head, delete, list."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

NAME = "avatars-of-keepwell"


class BucketServer(ThreadingHTTPServer):
    """One bucket, in memory; it can be told to hang, and to answer nobody."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.is_gone = False

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away."""


class _Handler(BaseHTTPRequestHandler):
    server: BucketServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args: object) -> None:
        pass

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.goes_on.wait()
        if self.server.is_gone:
            self.close_connection = True
            return
        asked = urlsplit(self.path)
        bucket, _, name = unquote(asked.path).lstrip("/").partition("/")
        if bucket != NAME:
            self._send(404, _error("NoSuchBucket"))
        elif not name:
            self._send(200, self._list(parse_qs(asked.query)))
        elif self.command == "PUT":
            self.server.files[name] = body
            self._send(200)
        elif self.command == "DELETE":
            self.server.files.pop(name, None)
            self._send(204)
        elif name in self.server.files:
            self._send(200, self.server.files[name])
        else:
            self._send(404, _error("NoSuchKey"))

    do_GET = do_HEAD = do_PUT = do_DELETE = _any  # noqa: N815 - names of the standard library

    def _list(self, asked: dict[str, list[str]]) -> bytes:
        prefix = asked.get("prefix", [""])[0]
        rest = [name.removeprefix(prefix) for name in self.server.files if name.startswith(prefix)]
        folders = sorted({one.partition("/")[0] for one in rest if "/" in one})
        entries = [f"<CommonPrefixes><Prefix>{escape(prefix + one)}/</Prefix></CommonPrefixes>" for one in folders]
        entries += [f"<Contents><Key>{escape(prefix + one)}</Key></Contents>" for one in sorted(rest) if "/" not in one]
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(entries)}</ListBucketResult>".encode()

    def _send(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{md5(body).hexdigest()}"')
        self.send_header("Last-Modified", formatdate(usegmt=True))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()


@contextmanager
def bucket() -> Iterator[BucketServer]:
    """Run one until the block ends."""
    server = BucketServer()
    serving = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    serving.start()
    try:
        yield server
    finally:
        server.goes_on.set()
        server.shutdown()
        server.server_close()
