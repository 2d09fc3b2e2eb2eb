"""Worker processes on this machine: started, started again when they die, ended with the search."""

import os
import subprocess
import threading
import time
from pathlib import Path

PARENT = "TFCHARLM_CHIEF_PID"
# A worker that dies before it has asked for a trial tries the patience, for 5 starts; if it was killed, for 20.
PATIENCE, KILLED, BROKEN = 20, 1, 4
LONGEST_PAUSE = 10
SECONDS_TO_LEAVE = 5


class Workers:
    """Keeps `count` workers running until the search is over.

    Args:
        oracle: a `FaultTolerantOracle`, which hears of every death at once.
        command: how a worker is started: the program and its arguments.
        count: number of workers; their ids are worker0, worker1, ...
        address: (host, port) of the chief.
        logs: a directory; what worker0 prints is in `worker0.log`.
    """

    def __init__(self, oracle, command, count, address, logs):
        self.oracle, self.command, self.address, self.logs = oracle, list(command), address, Path(logs)
        self.workers = [Worker(f"worker{number}") for number in range(count)]

    def poll(self):
        """Starts the workers that do not run. To be called every moment."""
        for worker in self.workers:
            if worker.process is not None and worker.process.poll() is not None:
                self.on_worker_exit(worker)
            wanted = not (self.oracle.is_ending() or self.oracle.is_over())
            if worker.process is None and wanted and time.monotonic() >= worker.not_before:
                self._start(worker)

    def stop(self):
        """Ends all workers: they have a moment to leave by themselves if the search is over."""
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
        own = {"KERASTUNER_TUNER_ID": worker.id, "KERASTUNER_ORACLE_IP": host, "KERASTUNER_ORACLE_PORT": str(port)}
        worker.log = self.logs / f"{worker.id}.log"
        with worker.log.open("ab") as log:
            # Its own session: Ctrl-C reaches the chief alone, which ends its workers.
            worker.process = subprocess.Popen(
                self.command,
                env=os.environ | own | {PARENT: str(os.getpid())},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def on_worker_exit(self, worker):
        killed, worker.process = worker.process.returncode < 0, None
        if worker.id in self.oracle.tuner_ids or self.oracle.is_ending() or self.oracle.is_over():
            worker.patience = PATIENCE
        else:
            worker.patience -= KILLED if killed else BROKEN
        worker.not_before = time.monotonic() + min(PATIENCE - worker.patience, LONGEST_PAUSE)
        self.oracle.worker_died(worker.id)
        if worker.patience <= 0:
            self.oracle.stop(f"{worker.id} does not start: {_last_line(worker.log)} (more in {worker.log})")


class Worker:
    """A place for a worker: its process, if it has one, and how often it failed to start."""

    def __init__(self, id_):
        self.id, self.process, self.log, self.patience, self.not_before = id_, None, None, PATIENCE, 0


def is_supervised():
    """Whether this process is a worker that was started by `Workers`."""
    return PARENT in os.environ


def end_with_chief():
    """Ends this process, if it is supervised, within a second of its chief's end."""
    if not is_supervised():
        return
    chief = int(os.environ[PARENT])

    def watch():
        while os.getppid() == chief:
            time.sleep(1)
        os._exit(1)  # whatever the other threads are in

    threading.Thread(target=watch, daemon=True).start()


def _wait(processes):
    deadline = time.monotonic() + SECONDS_TO_LEAVE
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        time.sleep(0.1)


def _last_line(log):
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
