"""Clients that go away before anything was sent to them: nothing is written for them, and nobody waits behind them."""

import asyncio
import contextlib
import json
import threading
import time

import pytest
from helpers.serving import make_served_model

from tfcharlm.generation import Sampling
from tfcharlm.serving import TextRequest, create_app

PATIENCE = 60


class Client:
    """A client that speaks ASGI. It leaves when it is told to; a stalled one does not even read the status."""

    def __init__(self, app, path, stalls=False, **body):
        self._content, self._stalls, self._left = json.dumps(body).encode(), stalls, asyncio.Event()
        headers = {"host": "localhost", "content-type": "application/json"}
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
            "method": "POST", "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"",
            "root_path": "", "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }  # fmt: skip
        self.done = asyncio.ensure_future(app(scope, self._receive, self._send))

    async def leave(self):
        self._left.set()
        await asyncio.wait_for(self.done, PATIENCE)

    async def _receive(self):
        if self._content is None:
            await self._left.wait()
            return {"type": "http.disconnect"}
        content, self._content = self._content, None
        return {"type": "http.request", "body": content, "more_body": False}

    async def _send(self, message):
        if self._stalls:
            # The server waits for its own limit of time, which is over when the client leaves.
            await self._left.wait()
            raise TimeoutError


async def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def held_server(rows, queue=256):
    """An application whose blocks are held until the event is set, and its engine."""
    app, go = create_app({"letters": make_served_model()}, rows=rows, queue=queue), threading.Event()
    engine = app.state.models["letters"].engine
    async with app.router.lifespan_context(app):
        blocks = engine._blocks
        engine._blocks = lambda *arguments: go.wait(PATIENCE) and blocks(*arguments)
        try:
            yield app, engine, go
        finally:
            go.set()


def hold_rows(engine, count):
    """Long texts of somebody else, in all rows."""
    one = TextRequest("a", 10**6, 1, Sampling(), (), None, False, lambda piece: None)
    return engine.submit([one] * count)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("stalls", [True, False])
def test_texts_in_the_queue_leave_it_with_their_client(stream, stalls):
    async def check():
        async with held_server(rows=2, queue=40) as (app, engine, _):
            others = hold_rows(engine, 2)
            await until(lambda: engine.num_active == 2)
            client = Client(app, "/v1/completions", stalls, prompt=["a"] * 40, max_tokens=16_000, stream=stream)
            await until(lambda: engine.num_waiting == 40)
            await client.leave()
            # No row has been free meanwhile: there is room in the queue all the same.
            assert engine.num_waiting == 0 and engine.num_active == 2
            others.cancel()

    asyncio.run(check())


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("stalls", [True, False])
def test_rows_that_have_sent_nothing_are_freed(stream, stalls):
    async def check():
        async with held_server(rows=8) as (app, engine, go):
            client = Client(app, "/v1/completions", stalls, prompt=["a"] * 8, max_tokens=16_000, stream=stream)
            await until(lambda: engine.num_active == 8)
            await client.leave()
            go.set()
            await until(lambda: not engine.num_active)
            assert engine.tokens_written == 0

    asyncio.run(check())


@pytest.mark.parametrize("path", ["/v1/score", "/v1/activations"])
def test_nothing_is_computed_for_clients_that_left_while_they_waited(path):
    go, texts = threading.Event(), []

    def slow(model, text, *_):
        texts.append(text)
        go.wait(PATIENCE)
        return {}

    async def check():
        model = make_served_model()
        model.score = lambda text: slow(model, text[0])
        app = create_app({"letters": model}, rows=2, activations=slow)
        first = Client(app, path, input="a")
        await until(lambda: texts)
        others = [Client(app, path, input="b") for _ in range(5)]
        await asyncio.sleep(0.1)
        for one in others:
            await one.leave()
        go.set()
        await asyncio.wait_for(first.done, PATIENCE)
        last = Client(app, path, input="c")
        await asyncio.wait_for(last.done, PATIENCE)

    asyncio.run(check())
    assert texts == ["a", "c"]
