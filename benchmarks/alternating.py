"""Times candidates in turn, each in its own process, so that changes in the machine's speed affect all of them alike.

Each has its own process, because thread settings hold for a whole process. On a shared machine, only the ratios within
one run mean anything.
"""

import dataclasses
import multiprocessing
import os
import platform
import random
import resource
import statistics
import time
import traceback
from importlib import metadata
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One way to do the work.

    Args:
        name: the name in the tables.
        factory: a function at the top level of an importable module. `factory(**arguments)` returns a function `work`;
            `work(n)` does the work n times and returns the seconds for one time. It is called in the candidate's
            process.
        arguments: arguments of the factory.
        environment: environment variables, set in that process before anything is imported.
    """

    name: str
    factory: object
    arguments: dict = dataclasses.field(default_factory=dict)
    environment: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Timing:
    """The result of a candidate: seconds of the first call and of the work in each round, and peak memory in MiB."""

    first_call: float = float("nan")
    seconds: list = dataclasses.field(default_factory=list)
    peak_mib: float = float("nan")
    error: str = ""

    @property
    def median(self):
        return statistics.median(self.seconds) if self.seconds else float("nan")


def measure(candidates, rounds=15, warmup=2, turn=0.2):
    """Measures `{name: Timing}`: in each round, every candidate in turn does its work for `turn` seconds or once.

    Each round has another order, because a heavy candidate slows down the processor for the next one.

    A turn begins with work that does not count: it finds caches that others have filled, and memory that the system has
    taken back meanwhile. The first `warmup` rounds do not count.
    """
    context = multiprocessing.get_context("spawn")
    timings, pipes, processes = {}, {}, []
    for candidate in candidates:
        pipe, other_end = context.Pipe()
        process = context.Process(target=_serve, args=(candidate, other_end), daemon=True)
        process.start()
        other_end.close()
        processes.append(process)
        answer = _answer(pipe)
        timings[candidate.name] = Timing(error=answer) if isinstance(answer, str) else Timing(first_call=answer)
        if not isinstance(answer, str):
            pipes[candidate.name] = pipe
    for number in range(warmup + rounds):
        for name in random.Random(number).sample(list(pipes), len(pipes)):
            pipes[name].send(turn)
            seconds = pipes[name].recv()
            if number >= warmup:
                timings[name].seconds.append(seconds)
    for name, pipe in pipes.items():
        pipe.send(None)
        timings[name].peak_mib = pipe.recv()
    for process in processes:
        process.join()
    return timings


def timed(step):
    """Makes a function `work(n)` from one that does the work once."""

    def work(n):
        begin = time.perf_counter()
        for _ in range(n):
            step()
        return (time.perf_counter() - begin) / n

    return work


def environment():
    """One line with the processor, its cores, versions and the date."""
    versions = []
    for package in ("tensorflow", "keras", "torch"):
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    python = f"Python {platform.python_version()}"
    return f"{_processor()}, {os.cpu_count()} cores; {', '.join([python, *versions])}; {time.strftime('%Y-%m-%d')}"


def _answer(pipe):
    try:
        return pipe.recv()
    except EOFError:
        return "its process died"


def _serve(candidate, pipe):
    os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)
    os.environ.update({"TF_CPP_MIN_LOG_LEVEL": "3", **candidate.environment})
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        work = candidate.factory(**candidate.arguments)
        begin = time.perf_counter()
        work(1)
        pipe.send(time.perf_counter() - begin)
    except Exception as error:
        pipe.send("".join(traceback.format_exception_only(error)).strip().splitlines()[0])
        return
    begin = time.perf_counter()
    work(1)
    seconds = time.perf_counter() - begin
    while (turn := pipe.recv()) is not None:
        work(1)
        pipe.send(work(max(1, round(turn / seconds))))
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _processor():
    """The name of the processor and its vector instructions that matter for a matrix product."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    fields = dict(map(str.strip, line.split(":", 1)) for line in text.splitlines() if ":" in line)
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in fields.get("flags", "").split()]
    return f"{fields.get('model name', platform.machine())} ({', '.join(flags)})"
