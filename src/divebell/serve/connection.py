"""Work that lasts no longer than its client."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from divebell.serve.errors import as_refusal
from divebell.serve.record import Record, record_of
from divebell.serve.refusal import Refusal

T = TypeVar("T")
BEGUN = ": begun\n\n"  # a comment, which clients pass over: the request was taken
GONE = 499  # nginx's status for a client that closed the connection


async def while_connected(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """What `work` comes to; it is cancelled when the client goes, or when we are."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Refusal(GONE, "the client closed the connection")
        return task.result()
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    """Server-sent events. The status goes out with the first frame, so what is refused before is refused properly.

    frames: text, each a whole event; closed when the client goes. failed: an error as a last frame; the request counts
    by it from then on, though the client was told 200.
    """

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncGenerator[str], failed: Callable[[Exception], str]):
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._frames, self._failed = frames, failed
        self._begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record = record_of(scope)
        try:
            async with aclosing(self._frames) as frames:
                await while_connected(receive, self._send(frames, send, record))
        except Refusal as refusal:
            if not self._begun:
                raise
            record.status = refusal.status_code

    async def _send(self, frames: AsyncGenerator[str], send: Send, record: Record) -> None:
        first = await anext(frames)
        self._begun = True
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send(_body(first))
        try:
            async for frame in frames:
                await send(_body(frame))
        except Exception as error:
            refusal = as_refusal(error)
            record.status = refusal.status_code
            await send(_body(self._failed(refusal)))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _body(frame: str) -> dict[str, Any]:
    return {"type": "http.response.body", "body": frame.encode(), "more_body": True}
