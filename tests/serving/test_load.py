"""Clients that come, vanish, stall and send garbage, for a while: no wrong text, flat memory, and all rows free."""

import asyncio
import json
import os
import random
import re
from pathlib import Path

import pytest
from helpers.serving import LETTERS, make_served_model
from helpers.serving_process import GARBAGE, PATIENCE, Server

SECONDS = float(os.environ.get("TFCHARLM_LOAD_SECONDS", 60))
CLIENTS = 64
pytestmark = pytest.mark.slow


def request(body):
    content = json.dumps(body).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


async def write_text(server, draw, texts):
    """A client as it should be; what it got is compared with `generate` later."""
    prompt = "".join(draw.choices(LETTERS, k=draw.randrange(9)))
    body = {"prompt": prompt, "max_tokens": draw.randrange(1, 400), "seed": draw.randrange(2**40)}
    body["stream"] = draw.random() < 0.7
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(request(body))
    answer = (await reader.read()).decode()
    writer.close()
    assert answer.startswith("HTTP/1.1 200"), answer[:300]
    found = re.findall(r'"text": ?("(?:[^"\\]|\\.)*")', answer)
    text = "".join(map(json.loads, found))
    texts.append((body, text))


async def vanish(server, draw, texts):
    _, writer = await asyncio.open_connection(*server.address)
    writer.write(request({"prompt": ["a"] * draw.randrange(1, 9), "max_tokens": 16_000, "stream": draw.random() < 0.5}))
    await writer.drain()
    await asyncio.sleep(draw.choice([0, draw.random()]))
    # What follows a request does not hide that its client leaves.
    writer.write(draw.choice([b"", b"\r\n", b"GET / HTTP/1.1\r\n"]))
    await asyncio.sleep(draw.choice([0, 0.1]))
    draw.choice([writer.transport.abort, writer.transport.close])()


async def stall(server, draw, texts):
    """Reads the start of a stream, or sends half of a request, and does nothing for a second."""
    _, writer = await asyncio.open_connection(*server.address)
    content = request({"prompt": "a", "max_tokens": 500, "stream": True})
    writer.write(content[: draw.randrange(1, len(content) + 1)])
    await asyncio.sleep(1)
    writer.transport.abort()


async def babble(server, draw, texts):
    reader, writer = await asyncio.open_connection(*server.address)
    try:
        writer.write(draw.choice(list(GARBAGE.values())))
        await asyncio.wait_for(reader.read(4096), 1)
    except (OSError, TimeoutError):
        pass
    writer.transport.abort()


def memory_of(process):
    """Megabytes that a process holds."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[1]) / 1024


async def clients(server, seconds, draw, texts):
    end = asyncio.get_running_loop().time() + seconds

    async def client():
        while asyncio.get_running_loop().time() < end:
            kind = draw.choices([write_text, vanish, stall, babble], weights=[8, 1, 1, 1])[0]
            await kind(server, draw, texts)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))


def test_a_busy_server_stays_as_it_is(rng, tmp_path):
    model, draw, texts = make_served_model(), random.Random(int(rng.integers(2**32))), []
    server = Server(model.export(tmp_path / "letters" / "1"), "--port", 0, "--queue", 1000)
    try:
        asyncio.run(clients(server, min(20, SECONDS), draw, texts))
        before = memory_of(server.process)
        asyncio.run(clients(server, SECONDS, draw, texts))
        for _ in range(PATIENCE):
            if not server.metric("tfcharlm_active_texts") and not server.metric("tfcharlm_waiting_texts"):
                break
            asyncio.run(asyncio.sleep(1))
        assert not server.metric("tfcharlm_active_texts") and not server.metric("tfcharlm_waiting_texts")
        grown = memory_of(server.process) - before
        assert not [line for line in server.lines if "rror" in line], server.lines
    finally:
        server.kill()
    print(f"{len(texts):,} texts; memory grew by {grown:.1f} MB")
    assert len(texts) > 2 * SECONDS and grown < 20
    for body, text in texts[:: max(1, len(texts) // 500)]:
        prompt = body["prompt"]
        expected = model.generate(prompt, max_length=body["max_tokens"], seed=body["seed"])
        assert prompt + text == expected
