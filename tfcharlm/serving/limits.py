"""Limits of requests: sizes of bodies, and the time that a client may take to send and to receive."""

import asyncio
import time
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from tfcharlm.serving.errors import ServingError, error_response
from tfcharlm.serving.metrics import Metrics

# A body has at most 100,000 characters of text, each of which JSON may write as "\\ud83d\\ude00".
MAX_BODY = 2 << 20
# Seconds to send the headers, to send the body, and to take a part of the response.
HEADER_SECONDS, BODY_SECONDS, SEND_SECONDS = 20, 30, 60
# Bytes that a client may send after a request, before the response has ended: that is a few requests.
MAX_AHEAD = 64 << 10


class Limits:
    """ASGI middleware that ends requests which are too large or too slow, and counts all of them.

    Args:
        app: the application.
        metrics: the `Metrics` of the server.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 499, time.perf_counter()

        async def limited_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            # A client that stalls would keep the connection for ever.
            async with asyncio.timeout(SEND_SECONDS):
                await send(message)

        try:
            refusal = _refusal(scope)
            if refusal is not None:
                await refusal(scope, receive, limited_send)
                return
            await self._app(scope, _limited_receive(receive), limited_send)
        except TimeoutError:
            # The connection is closed by the server, because the response has no end.
            status = 499
        finally:
            # Only known paths, or a stranger could make as many counters as he likes.
            path = scope["route"].path if "route" in scope else "other"
            self._metrics.requests.labels(path, status).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - began)


def _refusal(scope):
    headers = Headers(scope=scope)
    if int(headers.get("content-length", "0")) > MAX_BODY:
        return error_response(413, f"the body must have at most {MAX_BODY:,} bytes.", headers={"Connection": "close"})
    # A web page can send other types to any server without asking it first.
    if scope["method"] == "POST" and headers.get("content-type", "").split(";")[0].strip() != "application/json":
        return error_response(415, "the header Content-Type must be application/json.")
    return None


def _limited_receive(receive: Receive) -> Receive:
    received, is_complete, deadline = 0, False, asyncio.get_running_loop().time() + BODY_SECONDS

    async def limited() -> Message:
        nonlocal received, is_complete
        if is_complete:
            return await receive()
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise ServingError(408, f"the body must arrive within {BODY_SECONDS} seconds.") from None
        received += len(message.get("body", b""))
        is_complete = not message.get("more_body", False)
        if received > MAX_BODY:
            raise ServingError(413, f"the body must have at most {MAX_BODY:,} bytes.", headers={"Connection": "close"})
        return message

    return limited


class TimedProtocol(H11Protocol):
    """Uvicorn's HTTP protocol, which closes a connection that does not send whole headers in time.

    It also reads on while a response is made. Uvicorn stops reading when bytes follow a request. Then it would not
    notice that the client leaves, and texts would be written for nobody.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_answering:
            if len(self.conn.trailing_data[0]) > MAX_AHEAD:
                self.transport.abort()
            else:
                self.flow.resume_reading()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        # The bytes follow a request that announced to be the last one. A second response would break the first.
        if self._is_answering:
            self.transport.abort()
        else:
            super().send_400_response(msg)

    @property
    def _is_answering(self) -> bool:
        """Whether there is a whole request, and not yet a whole response."""
        return self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop()

    def _watch(self) -> None:
        is_waiting = self.cycle is None or self.cycle.response_complete
        if not is_waiting:
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()
