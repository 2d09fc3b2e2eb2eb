"""Workers: what they do when the chief is away, when they do not start, and when processes are killed."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
from helpers.fake_searches import fits
from helpers.oracles import Clock, assert_complete, begin, loss
from helpers.processes import environment
from keras_tuner.engine.trial import Trial

from tfcharlm.tuning.fault_tolerance import Workers, workers
from tfcharlm.tuning.fault_tolerance.connection import Connection
from tfcharlm.tuning.fault_tolerance.leases import claim, process_of


class Unavailable(grpc.RpcError):
    def code(self):
        return grpc.StatusCode.UNAVAILABLE


class Client:
    """Keras Tuner's client without a network; every call is cut off once, before or after the chief has heard it."""

    def __init__(self, oracle, rng):
        self.oracle, self.rng, self.objective, self.fails = oracle, rng, oracle.objective, True

    def __getattr__(self, name):
        def call(*arguments):
            self.fails = not self.fails
            heard = self.fails or self.rng.random() < 0.5
            answer = getattr(self.oracle, name)(*arguments) if heard else None
            if not self.fails:
                raise Unavailable
            return Trial.from_proto(answer.to_proto()) if isinstance(answer, Trial) else answer

        return call


def test_a_worker_asks_again_when_the_chief_was_away(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(
        "tfcharlm.tuning.fault_tolerance.connection.time", type("Time", (), {"sleep": staticmethod(lambda s: None)})
    )
    oracle = begin(tmp_path / "search")
    connection = Connection(Client(oracle, rng), "worker0")
    while (trial := connection.create_trial("worker0")).status != "STOPPED":
        connection.update_trial(trial.trial_id, {"val_loss": loss(trial)}, step=2)
        trial.status = "COMPLETED"
        connection.end_trial(trial)
    assert_complete(oracle, 7)
    assert all(trial.best_step == 2 for trial in oracle.trials.values())


def test_a_program_that_does_not_start_ends_the_search(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "LONGEST_PAUSE", 0)
    oracle = begin(tmp_path / "search")
    command = [sys.executable, "-c", "import sys; sys.exit('no such corpus: poems')"]
    crew = Workers(oracle, command, 1, ("127.0.0.1", 1), tmp_path / "logs")
    while not oracle.is_over():
        crew.poll()
    crew.stop()
    assert "worker0 does not start: no such corpus: poems" in oracle.stopped_because
    assert (tmp_path / "logs" / "worker0.log").read_text().count("poems") == 5


def crew_of_sleepers(tmp_path, oracle):
    """A worker that does nothing but live, until it is told to end."""
    return Workers(oracle, ["sleep", "1000"], 1, ("127.0.0.1", 1), tmp_path / "logs")


def poll_until(crew, condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        crew.poll()
        time.sleep(0.02)


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="needs waitid to hear that a child is stopped")
def test_a_worker_that_is_stopped_is_replaced_and_one_that_continues_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "SECONDS_STOPPED", 1)
    messages = []
    oracle = begin(tmp_path / "search", messages=messages)
    crew = crew_of_sleepers(tmp_path, oracle)
    try:
        crew.poll()
        (worker,) = crew.workers
        first = worker.process
        trial = oracle.create_trial(process_of("worker0"))
        first.send_signal(signal.SIGSTOP)
        poll_until(crew, lambda: worker.stopped_at is not None)
        first.send_signal(signal.SIGCONT)
        poll_until(crew, lambda: worker.stopped_at is None)
        assert worker.process is first and messages == []
        first.send_signal(signal.SIGSTOP)
        poll_until(crew, lambda: worker.process not in (None, first))
        assert first.returncode == -signal.SIGKILL
        assert messages == [
            f"worker0 was stopped by a signal and is replaced; trial {trial.trial_id} goes to the next worker."
        ]
        assert oracle.create_trial(process_of("worker0")).trial_id == trial.trial_id
        assert oracle.deaths == {trial.trial_id: 1} and worker.patience == workers.PATIENCE
        worker.process.send_signal(signal.SIGSTOP)  # in the end, it is killed without a wait
        poll_until(crew, lambda: worker.stopped_at is not None)
    finally:
        crew.stop()
    assert worker.process.returncode == -signal.SIGKILL


def test_a_worker_that_makes_no_progress_is_replaced(tmp_path):
    clock = Clock()
    oracle = begin(tmp_path / "search", clock=clock, stall_seconds=10)
    crew = crew_of_sleepers(tmp_path, oracle)
    try:
        crew.poll()
        (worker,) = crew.workers
        first, process = worker.process, process_of("worker0")
        trial = oracle.create_trial(process)
        oracle.get_trial(claim(trial.trial_id, process), 1)
        for _ in clock.ticks(9):
            crew.poll()
            oracle.expire()
        assert first.poll() is None, "it is alive, though no heartbeat was heard"
        for _ in clock.ticks(9):
            oracle.expire()
        poll_until(crew, lambda: worker.process not in (None, first))
        assert first.returncode == -signal.SIGKILL and oracle.deaths == {trial.trial_id: 1}
    finally:
        crew.stop()


def program(directory, *arguments, log="chief.log", **variables):
    """Starts a chief or a worker; its output goes to a file."""
    command = [sys.executable, "-m", "helpers.fake_searches", str(directory), *arguments]
    with Path(directory, log).open("ab") as output:
        return subprocess.Popen(
            command, env=environment(**variables), stdout=output, stderr=output, start_new_session=True
        )


def processes(directory, parent=None):
    """Ids of the living processes of a search, all or those that a parent has started."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            pid, state, ppid = int(entry.name), *(entry / "stat").read_text().rpartition(")")[2].split()[:2]
            ours = str(directory).encode() in (entry / "cmdline").read_bytes()
            if ours and state != "Z" and parent in (None, int(ppid)):
                yield pid


def overs(directory):
    lines = Path(directory, "chief.log").read_text().splitlines()
    return {float(line.split()[2]): float(line.split()[1]) for line in lines if line.startswith("over ")}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc of Linux to see which processes are left")
def test_thirty_workers_and_five_chiefs_are_killed(tmp_path, rng):
    trials, kills = 40, rng.permutation(["worker"] * 30 + ["chief"] * 5)
    arguments = (str(trials), "3")
    chief = program(tmp_path, *arguments)
    for victim in kills:
        time.sleep(rng.uniform(1, 7))
        if victim == "worker":
            while not (pids := list(processes(tmp_path, parent=chief.pid))):
                time.sleep(0.1)
                assert chief.poll() is None, "the search ended before all kills"
            os.kill(int(rng.choice(pids)), signal.SIGKILL)
        else:
            assert chief.poll() is None, "the search ended before all kills"
            chief.kill()
            chief.wait()
            chief = program(tmp_path, *arguments)
    assert chief.wait(timeout=600) == 0, Path(tmp_path, "chief.log").read_text()
    finished = time.time()

    state = json.loads((tmp_path / "search" / "oracle.json").read_text())
    assert sorted(state["end_order"]) == sorted(state["trials"]) and len(state["trials"]) == trials
    assert all(trial["status"] == "COMPLETED" for trial in state["trials"].values())
    done = overs(tmp_path)
    assert finished - max(done.values()) < 30
    asked = {trial["hyperparameters"]["values"]["x"] for trial in state["trials"].values()}
    assert {x for _, x in fits(tmp_path, "end")} == asked and len(asked) == trials
    assert len(fits(tmp_path, "begin")) > trials, "no kill met a trial"
    again = [x for when, x in fits(tmp_path, "begin") if when > done.get(x, np.inf)]
    assert again == [], "trials that were run when they were over"
    assert list(processes(tmp_path)) == []


@pytest.mark.slow
def test_workers_on_other_machines_outlive_their_chief(tmp_path):
    """They are started by hand; trials that ran when the chief was killed are neither given up nor run again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(free.getsockname()[1])}

    def start(name):
        return program(tmp_path, "6", "8", log=f"{name}.log", KERASTUNER_TUNER_ID=name, **address)

    chief, *crew = map(start, ("chief", "worker0", "worker1"))
    log = tmp_path / "fits.txt"
    while not log.exists() or len(fits(tmp_path, "begin")) < 2:
        time.sleep(0.1)
    chief.kill()
    chief.wait()
    chief = start("chief")
    assert [process.wait(timeout=300) for process in (chief, *crew)] == [0, 0, 0]
    state = json.loads((tmp_path / "search" / "oracle.json").read_text())
    assert [trial["status"] for trial in state["trials"].values()] == ["COMPLETED"] * 6
    assert len(fits(tmp_path, "begin")) == len(fits(tmp_path, "end")) == 6


@pytest.mark.slow
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_nothing_is_left_of_a_search_whose_workers_were_stopped(tmp_path, number):
    """Whatever ends the chief; and the search can be resumed."""
    number = getattr(signal, number)
    chief = program(tmp_path, "4", "2")
    log = tmp_path / "fits.txt"
    while not log.exists() or len(fits(tmp_path, "begin")) < 2:
        time.sleep(0.1)
        assert chief.poll() is None
    for pid in processes(tmp_path, parent=chief.pid):
        os.kill(pid, signal.SIGSTOP)
    chief.send_signal(number)
    assert chief.wait(timeout=30) == {signal.SIGTERM: 143}.get(number, -number)
    deadline = time.monotonic() + 10
    while list(processes(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(processes(tmp_path)) == []
    assert ("tfcharlm: terminated." in Path(tmp_path, "chief.log").read_text()) == (number == signal.SIGTERM)
    assert program(tmp_path, "4", "2").wait(timeout=300) == 0
    assert len(overs(tmp_path)) == 4 and not (tmp_path / "search" / "secret").exists()


@pytest.mark.slow
def test_a_trial_that_hangs_is_run_again_by_another_process(tmp_path):
    """Its worker lives and sends heartbeats."""
    chief = program(tmp_path, "3", "1", FAKE_HANGS="1", FAKE_STALL_SECONDS="5")
    assert chief.wait(timeout=300) == 0
    assert len(fits(tmp_path, "begin")) == 4 and len(fits(tmp_path, "end")) == 3 and len(overs(tmp_path)) == 3
    assert re.search("worker[01] made no step for 5 s; trial [01] goes", Path(tmp_path, "chief.log").read_text())
    assert list(processes(tmp_path)) == []


@pytest.mark.slow
def test_a_worker_elsewhere_that_hangs_ends(tmp_path):
    """Nobody can kill it there, so it ends itself when it has lost its trial."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(free.getsockname()[1])}
    variables = address | {"FAKE_STALL_SECONDS": "5"}
    chief = program(tmp_path, "2", "1", KERASTUNER_TUNER_ID="chief", **variables)
    hangs = program(tmp_path, "2", "1", log="hangs.log", KERASTUNER_TUNER_ID="hangs", FAKE_HANGS="1", **variables)
    log = tmp_path / "fits.txt"
    while not log.exists():
        time.sleep(0.1)
        assert hangs.poll() is None
    works = program(tmp_path, "2", "1", log="works.log", KERASTUNER_TUNER_ID="works", **variables)
    assert [process.wait(timeout=300) for process in (chief, works, hangs)] == [0, 0, 1]
    assert "tfcharlm: hangs ends, because trial 0 hangs." in Path(tmp_path, "hangs.log").read_text()
