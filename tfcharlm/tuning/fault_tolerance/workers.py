"""Worker processes on this machine: they are started, restarted when they die, and ended with the search."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tfcharlm.tuning.fault_tolerance.leases import SteadyClock
from tfcharlm.tuning.fault_tolerance.oracle import FaultTolerantOracle

PARENT = "TFCHARLM_CHIEF_PID"
# A worker that dies before it asks for a trial costs patience. The search is aborted after 5 such starts, or after 20
# if the worker was killed each time.
PATIENCE, KILLED, BROKEN = 20, 1, 4
LONGEST_PAUSE = 10
SECONDS_TO_LEAVE = 5
# It includes the import of TensorFlow and the reading of the text, which may be gigabytes.
SECONDS_TO_START = 1800
PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>
# A process that somebody stopped (SIGSTOP) is killed if it is not continued within this time.
SECONDS_STOPPED = 10


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
        self._clock = SteadyClock()
        oracle.on_expired = self.kill

    def poll(self) -> None:
        """Starts the workers that are not running, and kills those that are stopped. Call it several times a second."""
        for worker in self.workers:
            if worker.process is not None and worker.process.poll() is not None:
                self.on_worker_exit(worker)
            self._check_running(worker)
            wanted = not (self.oracle.is_ending() or self.oracle.is_over())
            if worker.process is None and wanted and time.monotonic() >= worker.not_before:
                self._start(worker)

    def _check_running(self, worker):
        """Kills a worker that is stopped, or that does not come to ask for a trial."""
        now = self._clock()
        if worker.process is None:
            return
        known = self.oracle.processes_of(worker.id)
        if known:
            worker.has_asked = True
        elif not worker.has_asked and now - worker.started_at >= SECONDS_TO_START:
            self.kill(worker.id)
        if not _is_stopped(worker.process):
            worker.stopped_at = None
            for process in known & self.oracle.ongoing_trials.keys():
                # It is alive, even if a computation keeps its heartbeats back. Its steps are what counts.
                self.oracle.leases.renew(process)
        elif worker.stopped_at is None:
            worker.stopped_at = now
        elif now - worker.stopped_at >= SECONDS_STOPPED:
            self.kill(worker.id, "was stopped by a signal and is replaced")

    def kill(self, worker_id: str, how: str | None = None) -> None:
        """Kills a worker, stopped or not, if it is one of these. `poll` starts it again.

        Args:
            worker_id: the id of a worker.
            how: what happened to it, if the oracle does not know yet; None (default) if it does.
        """
        for worker in self.workers:
            # Another thread may see at the same time that it has exited.
            process = worker.process
            if worker.id == worker_id and process is not None:
                process.kill()
                if how is not None:
                    self.oracle.worker_died(worker.id, how)

    def stop(self) -> None:
        """Ends all workers. If the search is over, they first have a moment to exit by themselves."""
        running = [worker.process for worker in self.workers if worker.process is not None]
        try:
            for process in filter(_is_stopped, running):
                process.kill()  # it would get no other signal
            if self.oracle.is_over():
                _wait(running)
            for process in running:
                process.terminate()
            _wait(running)
        finally:  # also after a second Ctrl-C
            for process in running:
                process.kill()
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
        worker.started_at, worker.stopped_at, worker.has_asked = self._clock(), None, False

    def on_worker_exit(self, worker: "Worker") -> None:
        """Tells the oracle that a worker exited, and aborts the search if the worker does not start at all."""
        assert worker.process is not None
        killed, worker.process = worker.process.returncode < 0, None
        if worker.has_asked or self.oracle.processes_of(worker.id) or self.oracle.is_ending() or self.oracle.is_over():
            worker.patience = PATIENCE
        else:
            worker.patience -= KILLED if killed else BROKEN
        worker.not_before = time.monotonic() + min(PATIENCE - worker.patience, LONGEST_PAUSE)
        self.oracle.worker_died(worker.id)
        if worker.patience <= 0:
            self.oracle.stop(f"{worker.id} does not start: {_last_line(worker.log):.150} (see {worker.log})")


class Worker:
    """A worker: its process, if it is running, and how much patience with failed starts is left."""

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.process: subprocess.Popen | None = None
        self.log: Path | None = None
        self.patience, self.not_before = PATIENCE, 0.0
        self.started_at, self.has_asked = 0.0, False
        self.stopped_at: float | None = None


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
    if sys.platform == "linux":
        # Also if this process is stopped then, and no thread of it runs.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _is_stopped(process: subprocess.Popen) -> bool:
    """Whether somebody has stopped a child process (SIGSTOP). It is left to `Popen` to hear of its end."""
    if process.poll() is not None or not hasattr(os, "waitid"):
        return False
    try:
        return os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def _wait(processes: Iterable[subprocess.Popen]) -> None:
    deadline = time.monotonic() + SECONDS_TO_LEAVE
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        time.sleep(0.1)


def _last_line(log):
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
