"""Clients that go away: what they wanted is given up at once, whatever it was waiting for."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import anyio
from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from tfcharlm.serving.completions import Completion
from tfcharlm.serving.errors import ServingError

NO_STORE = {"Cache-Control": "no-store"}
T = TypeVar("T")


class EventStream(StreamingResponse):
    """The events of a completion. Its rows are free when the response ends, however it ends.

    The generator of the events cannot see to that alone. If the client leaves while the status is being sent, the
    generator never starts, so that it has nothing to clean up.

    Args:
        completion: a `Completion`.
    """

    def __init__(self, completion: Completion) -> None:
        super().__init__(completion.events(), media_type="text/event-stream", headers=NO_STORE)
        self._completion = completion

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._completion.cancel()


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """The result of `work`, which is cancelled if the client of the request goes away.

    A thread of `anyio.to_thread` that has begun runs to its end; one that still waits for its turn never begins.

    Raises:
        ServingError: the client has gone away. Nobody reads the error, but the status 499 is counted.
    """
    scope = anyio.CancelScope()

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    watching = asyncio.ensure_future(watch())
    try:
        with scope:
            return await work
    finally:
        watching.cancel()
    raise ServingError(499, "the client has gone away.")
