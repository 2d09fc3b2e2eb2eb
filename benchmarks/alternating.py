"""Times candidates in turn, each in a process of its own, so that the machine's moods fall on all of them alike.

A process each, because thread settings hold for a process: nobody's numbers are taken under another one's settings.
Only ratios of one run mean anything on a shared machine.
"""

import dataclasses
import multiprocessing
import os
import platform
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
        name: shown in the tables.
        factory: a function at the top level of an importable module; `factory(**arguments)` returns a function `work`,
            and `work(n)` does the work n times and returns the seconds that one time took. Called in the candidate's
            own process.
        arguments: of the factory.
        environment: variables set in that process before anything is imported.
    """

    name: str
    factory: object
    arguments: dict = dataclasses.field(default_factory=dict)
    environment: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Timing:
    """What one candidate gave: seconds of the first call, of one piece of work in every round; peak memory in MiB."""

    first_call: float = float("nan")
    seconds: list = dataclasses.field(default_factory=list)
    peak_mib: float = float("nan")
    error: str = ""

    @property
    def median(self):
        return statistics.median(self.seconds) if self.seconds else float("nan")


def measure(candidates, rounds=15, warmup=2, repeats=1):
    """`{name: Timing}`: `warmup` rounds, then `rounds` in which each in turn does its work `repeats` times."""
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
        for name, pipe in pipes.items():
            pipe.send(repeats)
            seconds = pipe.recv()
            if number >= warmup:
                timings[name].seconds.append(seconds)
    for name, pipe in pipes.items():
        pipe.send(None)
        timings[name].peak_mib = pipe.recv()
    for process in processes:
        process.join()
    return timings


def timed(step):
    """A function `work(n)` from one that does the work once."""

    def work(n):
        begin = time.perf_counter()
        for _ in range(n):
            step()
        return (time.perf_counter() - begin) / n

    return work


def environment():
    """One line: processor, cores, versions, date."""
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
    while (repeats := pipe.recv()) is not None:
        pipe.send(work(repeats))
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _processor():
    """Its name and the vector instructions that matter to a matrix product."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    fields = dict(map(str.strip, line.split(":", 1)) for line in text.splitlines() if ":" in line)
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in fields.get("flags", "").split()]
    return f"{fields.get('model name', platform.machine())} ({', '.join(flags)})"
