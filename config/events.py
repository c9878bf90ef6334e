"""The streams process's application: server-sent events, and nothing else (docs/streams.md)."""

import asyncio
import json
import os
import resource
import secrets
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import django
from django.conf import settings

from config.database import bounded, watched

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
settings.DATABASES["default"]["OPTIONS"] = watched(bounded(settings.DATABASES["default"]["OPTIONS"]))
django.setup()

from config.streams.asking import Asked, Refused  # noqa: E402 - needs every app to be loaded
from config.streams.hub import BEAT, Hub, Stream  # noqa: E402
from config.streams.reader import Reader, Unavailable  # noqa: E402
from interventions.api.problems import MEDIA_TYPE, RETRY_SECONDS, problem  # noqa: E402
from interventions.correlation import is_harmless, request_id  # noqa: E402
from therapists.accounts.factors import NEEDED  # noqa: E402

PATH, LIVE = "/api/v1/events/", "/health/live"
BEAT_SECONDS, IDENTIFY_SECONDS = 15, 3.0
# A permission that was not read for so long counts no more: the stream ends.
UNCHECKED_SECONDS = 30.0
# A stream ends by itself and the browser comes back: none lives for ever, and they spread over processes.
STREAM_SECONDS = 3600.0

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Events:
    """The application of ASGI; one of them in a process."""

    hub: Hub
    reader: Reader

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or the server's word that it begins."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        loop = asyncio.get_running_loop()
        self.hub = Hub(time.monotonic)
        self.reader = Reader(self.hub, loop)
        self.reader.start()
        _allow_files(settings.STREAMS_MOST)
        _before_stop(self.hub, loop)
        beating = asyncio.create_task(self._beat())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        beating.cancel()
        self.reader.stop()
        await loop.run_in_executor(None, self.reader.join, 2.0)
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        asked = Asked.of(scope)
        given = asked.headers.get("x-request-id", "")
        request_id.set(given if is_harmless(given) else uuid.uuid4().hex)
        try:
            if scope["path"] == LIVE:
                await _send_whole(send, 200, b"ok", {"content-type": "text/plain"})
                return
            stream = await self._admitted(scope, asked)
        except Refused as refused:
            said = problem(status=refused.status, code=refused.code, detail=refused.detail, path=scope["path"])
            headers = {"content-type": MEDIA_TYPE, "cache-control": "no-store", **refused.headers, **_cors(asked)}
            await _send_whole(send, refused.status, json.dumps(said).encode(), headers)
            return
        self.hub.join(stream, asked.since)
        gone = asyncio.create_task(_end_with(receive, stream))
        try:
            await _send_events(send, stream, asked)
        finally:
            gone.cancel()
            self.hub.leave(stream)

    async def _admitted(self, scope: Message, asked: Asked) -> Stream:
        """Give the stream that was asked for. Raises Refused."""
        if scope["path"] != PATH:
            raise Refused(404, "not_found", "There is nothing here.")
        if scope["method"] != "GET":
            raise Refused(405, "method_not_allowed", "A stream is got.", allow="GET")
        at = self.hub.clock()
        for key in asked.keys:
            try:
                caller = await self.reader.identify(key, seconds=IDENTIFY_SECONDS)
            except Unavailable as error:
                raise _come_back("unavailable", "This cannot be read right now. Try again shortly.") from error
            if caller is None:
                continue
            if caller.is_half:
                raise Refused(403, "second_factor_required", NEEDED)
            wanted = asked.wanted(caller)
            self._refuse_too_many(caller.person_id)
            return Stream(key, caller, wanted, at, at + STREAM_SECONDS + secrets.randbelow(600))
        words = (
            ("session_expired", "Your session has ended. Sign in again.")
            if asked.keys
            else ("not_authenticated", "Sign in first.")
        )
        raise Refused(401, *words, www_authenticate='Session realm="Keepwell"')

    def _refuse_too_many(self, person_id: int) -> None:
        if self.hub.is_closing:
            raise _come_back("unavailable", "This process is ending. Try again shortly.")
        if self.hub.of_person[person_id] >= settings.STREAMS_PER_PERSON:
            said = f"You have {settings.STREAMS_PER_PERSON} streams open here; close one first."
            raise Refused(429, "too_many_streams", said, retry_after=str(RETRY_SECONDS))
        if len(self.hub.streams) >= settings.STREAMS_MOST:
            raise _come_back("streams_full", f"{settings.STREAMS_MOST} streams are open here, and no more are given.")

    async def _beat(self) -> None:
        """Every second let some streams beat, each of them in its turn, and end those whose time is over."""
        turn = 0
        while True:
            await asyncio.sleep(1)
            turn = (turn + 1) % BEAT_SECONDS
            self.hub.end_unchecked(UNCHECKED_SECONDS)
            for stream in self.hub.streams:
                if id(stream) // 64 % BEAT_SECONDS == turn and not stream.waiting:
                    stream.put(BEAT)


application = Events()


async def _send_events(send: Send, stream: Stream, asked: Asked) -> None:
    headers = {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-store",
        "x-accel-buffering": "no",
        **_cors(asked),
    }
    await _begin(send, 200, headers)
    # They do not come back all at once where a process ends.
    body = f"retry: {1000 + secrets.randbelow(2000)}\n\n".encode()
    while not stream.is_over:
        stream.wake.clear()
        body += b"".join(stream.waiting)
        stream.waiting.clear()
        if body:
            await send({"type": "http.response.body", "body": body, "more_body": True})
        body = b""
        if not stream.is_over:
            await stream.wake.wait()
    await send({"type": "http.response.body", "body": b"".join(stream.waiting)})


async def _end_with(receive: Receive, stream: Stream) -> None:
    """End the stream when whoever reads it is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.end()


async def _send_whole(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    await _begin(send, status, headers | {"content-length": str(len(body))})
    await send({"type": "http.response.body", "body": body})


async def _begin(send: Send, status: int, headers: dict[str, str]) -> None:
    told = headers | {"x-request-id": request_id.get(), "vary": "origin, cookie", "x-content-type-options": "nosniff"}
    pairs = [(name.encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})


def _cors(asked: Asked) -> dict[str, str]:
    if not asked.origin:
        return {}
    return {"access-control-allow-origin": asked.origin, "access-control-allow-credentials": "true"}


def _come_back(code: str, detail: str) -> Refused:
    return Refused(503, code, detail, retry_after=str(RETRY_SECONDS))


def _allow_files(streams: int) -> None:
    """Allow this process a file for each stream, as far as the machine lets it."""
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = streams + 200
    if least != resource.RLIM_INFINITY and least < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most)
        )


def _before_stop(hub: Hub, loop: asyncio.AbstractEventLoop) -> None:
    """End every stream when the process is asked to end: the server waits for them, and would cut them off."""
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)

        def stop(number: int, frame: Any, before: Any = before) -> None:
            loop.call_soon_threadsafe(hub.close)
            if callable(before):
                before(number, frame)

        signal.signal(number, stop)
