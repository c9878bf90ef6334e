"""The streams process's application: server-sent events, and nothing else. It never touches the database."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

PATH = "/api/v1/events/"
BEAT_SECONDS = 15.0
# A stream ends by itself and the browser comes back: open streams must neither hold up a restart nor live for ever.
STREAM_SECONDS = 300.0
HELLO = b"retry: 1000\n: keepwell\n\n"
BEAT = b": keepwell\n\n"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def application(scope: Message, receive: Receive, send: Send) -> None:
    """Answer one request of ASGI."""
    if scope["type"] != "http":
        return
    if scope["path"] != PATH:
        await _refuse(send, 404)
    elif scope["method"] != "GET":
        await _refuse(send, 405, (b"allow", b"GET"))
    else:
        await _stream(receive, send)


async def _refuse(send: Send, status: int, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0"), *headers]})
    await send({"type": "http.response.body"})


async def _stream(receive: Receive, send: Send) -> None:
    headers = [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": HELLO, "more_body": True})
    clock = asyncio.get_running_loop().time
    ends_at = clock() + STREAM_SECONDS
    gone = asyncio.create_task(_disconnected(receive))
    try:
        while (left := ends_at - clock()) > 0:
            await asyncio.wait({gone}, timeout=min(BEAT_SECONDS, left))
            if gone.done():
                return
            await send({"type": "http.response.body", "body": BEAT, "more_body": True})
        await send({"type": "http.response.body"})
    finally:
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
