"""Worker processes on this machine: they are started, restarted when they die, and ended with the search."""

import os
import subprocess
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tfcharlm.tuning.fault_tolerance.oracle import FaultTolerantOracle

PARENT = "TFCHARLM_CHIEF_PID"
# A worker that dies before it asks for a trial costs patience. The search is aborted after 5 such starts, or after 20
# if the worker was killed each time.
PATIENCE, KILLED, BROKEN = 20, 1, 4
LONGEST_PAUSE = 10
SECONDS_TO_LEAVE = 5


class Workers:
    """Keeps `count` workers running until the search is over.

    Args:
        oracle: a `FaultTolerantOracle`; it is told of every death at once.
        command: the program and the arguments that start a worker.
        count: number of workers; their ids are worker0, worker1, ...
        address: `(host, port)` of the chief.
        logs: a directory; what worker0 prints goes to `worker0.log` in it.
    """

    def __init__(
        self,
        oracle: FaultTolerantOracle,
        command: Sequence[str],
        count: int,
        address: tuple[str, int],
        logs: Path | str,
    ) -> None:
        self.oracle, self.command, self.address, self.logs = oracle, list(command), address, Path(logs)
        self.workers = [Worker(f"worker{number}") for number in range(count)]

    def poll(self) -> None:
        """Starts the workers that are not running. Call it several times a second."""
        for worker in self.workers:
            if worker.process is not None and worker.process.poll() is not None:
                self.on_worker_exit(worker)
            wanted = not (self.oracle.is_ending() or self.oracle.is_over())
            if worker.process is None and wanted and time.monotonic() >= worker.not_before:
                self._start(worker)

    def stop(self) -> None:
        """Ends all workers. If the search is over, they first have a moment to exit by themselves."""
        running = [worker.process for worker in self.workers if worker.process is not None]
        if self.oracle.is_over():
            _wait(running)
        for end in (subprocess.Popen.terminate, subprocess.Popen.kill):
            for process in running:
                end(process)
            _wait(running)

    def _start(self, worker):
        self.logs.mkdir(parents=True, exist_ok=True)
        host, port = self.address
        variables = {
            "KERASTUNER_TUNER_ID": worker.id,
            "KERASTUNER_ORACLE_IP": host,
            "KERASTUNER_ORACLE_PORT": str(port),
        }
        worker.log = self.logs / f"{worker.id}.log"
        if worker.log.is_symlink():  # it would be followed
            worker.log.unlink()
        with worker.log.open("ab") as log:
            # In a session of its own: Ctrl-C reaches only the chief, which ends its workers.
            worker.process = subprocess.Popen(
                self.command,
                env=os.environ | variables | {PARENT: str(os.getpid())},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def on_worker_exit(self, worker: "Worker") -> None:
        """Tells the oracle that a worker exited, and aborts the search if the worker does not start at all."""
        assert worker.process is not None
        killed, worker.process = worker.process.returncode < 0, None
        if worker.id in self.oracle.tuner_ids or self.oracle.is_ending() or self.oracle.is_over():
            worker.patience = PATIENCE
        else:
            worker.patience -= KILLED if killed else BROKEN
        worker.not_before = time.monotonic() + min(PATIENCE - worker.patience, LONGEST_PAUSE)
        self.oracle.worker_died(worker.id)
        if worker.patience <= 0:
            self.oracle.stop(f"{worker.id} does not start: {_last_line(worker.log)} (see {worker.log})")


class Worker:
    """A worker: its process, if it is running, and how much patience with failed starts is left."""

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.process: subprocess.Popen | None = None
        self.log: Path | None = None
        self.patience, self.not_before = PATIENCE, 0.0


def is_supervised() -> bool:
    """Whether this process is a worker that `Workers` started."""
    return PARENT in os.environ


def end_with_chief() -> None:
    """Makes a process that `Workers` started end within a second after its chief."""
    if not is_supervised():
        return
    chief = int(os.environ[PARENT])

    def watch():
        while os.getppid() == chief:
            time.sleep(1)
        os._exit(1)  # at once, whatever the other threads are doing

    threading.Thread(target=watch, daemon=True).start()


def _wait(processes: Iterable[subprocess.Popen]) -> None:
    deadline = time.monotonic() + SECONDS_TO_LEAVE
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        time.sleep(0.1)


def _last_line(log):
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
