"""How fast a server writes for many clients at the same time, compared with one batch of `CharLM.generate`.

    python benchmarks/serving.py                        # about 5 minutes

In every round the batch and the clients take turns. The clients are one process that reads 64 streams. Results go to
benchmarks/results/serving.md.
"""

import argparse
import asyncio
import itertools
import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

from alternating import environment

import tfcharlm

RESULTS = Path(__file__).parent / "results" / "serving.md"


class Server:
    """A process of `tfcharlm serve`."""

    def __init__(self, model):
        command = [Path(sys.executable).with_name("tfcharlm"), "serve", model, "--port", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        line = next(line for line in self.process.stderr if " at http" in line)
        self.host, self.port = re.search(r"http://([\d.]+):(\d+)", line).groups()


async def read_stream(server, seed, length):
    """One client: the seconds to its first piece, and the number of tokens."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection(server.host, server.port)
    body = {"prompt": "", "max_tokens": length, "seed": seed, "stream": True, "stream_options": {"include_usage": True}}
    content = json.dumps(body).encode()
    headers = {"Host": "localhost", "Content-Type": "application/json", "Connection": "close"}
    headers["Content-Length"] = str(len(content))
    head = "".join(f"{line}\r\n" for line in ["POST /v1/completions HTTP/1.1", *map(": ".join, headers.items()), ""])
    writer.write(head.encode() + content)
    first, rest = None, b""
    while data := await reader.read(65536):
        if first is None and b'"text"' in data:
            first = time.perf_counter() - began
        rest = (rest + data)[-4096:]
    writer.close()
    return first, int(re.findall(rb'"completion_tokens": (\d+)', rest)[-1])


async def read_streams(server, clients, texts, length):
    """`(tokens per second, seconds to the first pieces)` of clients of which each asks for some texts in turn."""

    async def client(number):
        return [await read_stream(server, 1000 * number + text, length) for text in range(texts)]

    began = time.perf_counter()
    results = [one for many in await asyncio.gather(*map(client, range(clients))) for one in many]
    seconds = time.perf_counter() - began
    return sum(tokens for _, tokens in results) / seconds, [first for first, _ in results]


def write_batch(model, clients, texts, length):
    """Tokens per second of `generate` with one batch."""
    began = time.perf_counter()
    for text in range(texts):
        model.generate([""] * clients, max_length=length, seed=1000 * text)
    return clients * texts * length / (time.perf_counter() - began)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="saved_models/shakespeare")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--lengths", type=int, nargs="+", default=[400, 2000], help="tokens of a text")
    parser.add_argument(
        "--tokens", type=int, default=2000, help="tokens of each client in a round, in one text or more"
    )
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    model = tfcharlm.load_model(options.model)
    model.warm_up(max(options.clients))
    server = Server(options.model)
    lines = [
        "| clients | length | batch of generate, tokens / s | server, tokens / s | share "
        "| first piece, seconds: median, 95% |"
    ]
    lines += ["|---|---|---|---|---|---|"]
    for clients, length in itertools.product(options.clients, options.lengths):
        sizes = clients, max(1, options.tokens // length), length
        rounds = [
            (write_batch(model, *sizes), *asyncio.run(read_streams(server, *sizes))) for _ in range(options.rounds + 1)
        ][1:]
        batch, speed = (statistics.median(one[i] for one in rounds) for i in (0, 1))
        share = statistics.median(one[1] / one[0] for one in rounds)
        first = sorted(seconds for one in rounds for seconds in one[2])
        lines.append(
            f"| {clients} | {length:,} | {batch:,.0f} | {speed:,.0f} | {share:.0%} | {statistics.median(first):.3f}, "
            f"{first[int(0.95 * len(first))]:.3f} |"
        )
        print(lines[-1], flush=True)
    server.process.terminate()
    head = [f"{environment()}; `{' '.join(['python', *sys.argv])}`", "", f"Texts of {options.model}.", ""]
    RESULTS.write_text("\n".join([*head, *lines, ""]))


if __name__ == "__main__":
    main()
