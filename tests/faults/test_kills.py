"""Processes that train are killed, at random moments and at every call of a save; the run must end as if none had been.

The first part leaves out of a checkpoint what belongs there, and must see it. This file is also the program that is
killed: a process that has imported TensorFlow and forks one for every start of a run.
"""

import contextlib
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
from failing_calls import Calls, Killed

from tfcharlm.training.evaluation import AnnealLearningRate, Reporter
from tfcharlm.checkpoint import Checkpoint, CheckpointStore, run, state
from tfcharlm.training.config import TrainingConfig
from tfcharlm.training.run import TrainingRun

# The held-out end is unlike the rest: the first report is the best one.
TEXT = "abcd efg\n" * 150 + "".join(np.random.default_rng(0).choice(list("abcd efg\n"), 150))
SMALL = {"units": 11, "embedding_dim": 5, "batch_size": 3, "sequence_length": 8, "dropout": 0.3, "learning_rate": 0.03}
SMALL |= {"weight_drop": 0.2, "input_dropout": 0.1, "state_reset_probability": 0.1, "weight_decay": 0.01, "ema_momentum": 0.9}
COMBINATIONS = [(cell, policy) for cell in ("rnn", "lstm") for policy in ("float32", "mixed_bfloat16")]
# Steps between saves: at most so many are lost.
INTERVAL = 4


def digests_of(training, checkpoint, on_step=lambda spent: None):
    """Trains to the end; the SHA-256 of everything that is there then, by what it is."""
    last = []

    def restore(reporter):
        last.extend(training.model.get_weights())
        original(reporter)

    original = Reporter.restore_best_weights
    with mock.patch.object(Reporter, "restore_best_weights", restore):
        result = training.train(on_step=on_step, callbacks=[checkpoint])
    model = training.model
    reports = [{**vars(report), "seconds": None} for report in result.history]
    parts = {
        "weights": last,
        "optimizer": model.optimizer.variables,
        "states": model.carried_variables,
        "dropout": [model.dropout.counter],
        "best weights": model.get_weights(),
        "history": [np.frombuffer(repr(reports).encode(), np.uint8)],
        "end": [np.array([result.steps, result.val_loss])],
    }
    return {name: hashlib.sha256(b"".join(map(bytes_of, arrays))).hexdigest() for name, arrays in parts.items()}


def bytes_of(array):
    return (array if isinstance(array, np.ndarray) else array.numpy()).tobytes()


# -- what a checkpoint must hold


class Subject:
    """A run that begins anew as often as a test wants, traced once."""

    def __init__(self):
        config = TrainingConfig(steps=30, cell="lstm", **SMALL)
        self.training = TrainingRun(TEXT, config)
        model = self.training.model
        model.optimizer.build(model.trainable_variables)
        variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
        variables += [*model.carried_variables, model.dropout.counter]
        self._first = [(variable, variable.numpy()) for variable in variables]

    def digests(self, directory, steps=INTERVAL, dies_after=None):
        """Of a new process; None if it died."""
        for variable, value in self._first:
            variable.assign(value)

        def die(spent):
            if round(spent * self.training.config.steps) == dies_after:
                raise Killed

        with contextlib.suppress(Killed), mock.patch("tfcharlm.training.run.REPORTS", 5):
            return digests_of(self.training, silent(directory, steps), die)


def silent(directory, steps=INTERVAL):
    return Checkpoint(directory, steps=steps, notify=lambda line: None)


@pytest.fixture(scope="module")
def subject():
    return Subject()


@pytest.fixture(scope="module")
def whole(subject, tmp_path_factory):
    return subject.digests(tmp_path_factory.mktemp("whole") / "run")


def without(group):
    """Leaves variables out of checkpoints."""

    def leave_out(monkeypatch):
        original = state.variables_of
        kept = lambda model: {name: group_ for name, group_ in original(model).items() if name != group}  # noqa: E731
        monkeypatch.setattr(state, "variables_of", kept)

    return leave_out


def without_state(kind, **empty):
    """Leaves parts of a callback's state out, or all of it."""

    def leave_out(monkeypatch):
        original = kind.get_state
        if empty:
            monkeypatch.setattr(kind, "get_state", lambda callback: original(callback) | empty)
        else:
            monkeypatch.delattr(kind, "get_state")

    return leave_out


LEFT_OUT = {
    "weights": without("weights"),
    "optimizer": without("optimizer"),
    "carried states": without("states"),
    "dropout counter": without("random"),
    "sums of the metrics": without("metrics"),
    "position in the data": lambda patch: patch.setattr(run, "_starting_at", lambda data, place: data),
    "state of the schedule": without_state(AnnealLearningRate),
    "best so far": without_state(Reporter, best=None),
    "history": without_state(Reporter, history=[]),
}


@pytest.mark.parametrize("place", [1, 6, 17, 29])
def test_a_run_that_died_ends_as_if_it_had_not(tmp_path, subject, whole, place):
    assert subject.digests(tmp_path / "run", dies_after=place) is None
    assert subject.digests(tmp_path / "run") == whole


@pytest.mark.parametrize("part", LEFT_OUT)
def test_without_any_part_of_a_checkpoint_the_run_ends_otherwise(tmp_path, subject, whole, part, monkeypatch):
    LEFT_OUT[part](monkeypatch)
    assert subject.digests(tmp_path / "run", dies_after=17) is None
    digests = subject.digests(tmp_path / "run")
    different = [name for name in whole if digests[name] != whole[name]]
    print(f"without {part}: other {', '.join(different)}")
    assert different


# -- processes


def process(directory, cell, policy, seed=0, steps=60, place=None, half=False):
    """A start of a run. It notes what it does.

    It kills itself in its second save: before the call at a place, or in the middle of the write at a place of writes.
    """
    keras.config.set_dtype_policy(policy)
    config = TrainingConfig(steps=steps, cell=cell, seed=seed, **SMALL)
    training, saves, writes, save = TrainingRun(TEXT, config), 0, itertools.count(), CheckpointStore.save
    log = os.open(Path(directory, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(*words):
        os.write(log, (" ".join(map(str, words)) + "\n").encode())

    def noted_save(store, step, tree):
        nonlocal saves
        saves += 1
        note("saves", step)
        with Calls(kill) if saves == 2 and place is not None else contextlib.nullcontext():
            save(store, step, tree)
        note("saved", step)

    def kill(number, name, function, arguments):
        if half:
            number = next(writes) if name == "write" else None
        if number == place:
            if half:
                function(arguments[0], arguments[1][: len(arguments[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    note("begins")
    with mock.patch.object(CheckpointStore, "save", noted_save):
        digests = digests_of(training, silent(Path(directory, "run")), lambda spent: note("step", round(spent * steps)))
    Path(directory, "digests.part").write_text(json.dumps(digests))
    Path(directory, "digests.part").rename(Path(directory, "digests"))


def main():
    """Reads what to start, a JSON line each; tells the number of the process, and how it ended."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            arguments = json.loads(line)
            output = os.open(Path(arguments["directory"], "output"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            process(**arguments)
            os._exit(0)
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)


class Run:
    """A run in a directory, in as many processes as it takes."""

    def __init__(self, program, directory, **arguments):
        directory.mkdir()
        self.program, self.directory, self.arguments = program, directory, {"directory": str(directory), **arguments}

    def start(self, **arguments):
        print(json.dumps(self.arguments | arguments), file=self.program.stdin, flush=True)
        return int(self.program.stdout.readline())

    def wait(self):
        """Whether the process ended by itself."""
        status = int(self.program.stdout.readline())
        assert os.WIFSIGNALED(status) or status == 0, Path(self.directory, "output").read_text()
        return status == 0

    def kill_after(self, seconds):
        """Starts a process and kills it so long after its first step; whether there was something to kill."""
        known, pid = len(self.notes()), self.start()
        while sum(name == "step" for name, _ in self.notes()[known:]) < 1 and self.digests() is None:
            time.sleep(0.01)
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return not self.wait()

    def to_the_end(self, **arguments):
        self.start(**arguments)
        assert self.wait()
        return self.digests()

    def digests(self):
        path = self.directory / "digests"
        return json.loads(path.read_text()) if path.exists() else None

    def notes(self):
        """What the processes did: (name, step)."""
        path = self.directory / "log"
        text = path.read_text() if path.exists() else ""
        lines = [line.split() for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [(name, int(step[0]) if step else None) for name, *step in lines]

    def assert_no_more_than_an_interval_lost(self):
        """Every process goes on with a step of the last interval, and leaves none out."""
        last = 0
        for (before, _), (name, step) in itertools.pairwise(self.notes()):
            if name == "step":
                first = before == "begins" or last == 0
                assert last - INTERVAL < step <= last + 1 if first else step == last + 1
                last = step

    def kills_in_saves(self):
        names = [name for name, _ in self.notes()]
        return sum(pair == ("saves", "begins") for pair in itertools.pairwise(names))


@pytest.fixture(scope="module")
def program():
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        yield process
        process.stdin.close()


def test_a_few_kills(tmp_path, program, rng):
    arguments = {"cell": "lstm", "policy": "mixed_bfloat16", "steps": 50}
    whole = Run(program, tmp_path / "whole", **arguments).to_the_end()
    killed = Run(program, tmp_path / "killed", **arguments)
    kills = sum(killed.kill_after(rng.uniform(0, 0.3)) for _ in range(2))
    half = bool(rng.integers(2))
    killed.start(place=int(rng.integers(3 if half else 20)), half=half)
    kills += not killed.wait()
    assert killed.to_the_end() == whole
    assert kills > 1
    killed.assert_no_more_than_an_interval_lost()


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "policy"), COMBINATIONS)
def test_fifty_random_kills(tmp_path, program, rng, cell, policy):
    """Of runs one after another, until there were fifty."""
    arguments = {"cell": cell, "policy": policy, "steps": 1000}
    whole = Run(program, tmp_path / "whole", **arguments).to_the_end()
    kills = in_saves = runs = 0
    while kills < 50:
        killed = Run(program, tmp_path / f"killed {runs}", **arguments)
        while kills < 50 and killed.digests() is None:
            # Some must live to see the end of a report, which begins with some seconds of tracing.
            kills += killed.kill_after(rng.exponential(1.2))
        assert killed.to_the_end() == whole
        killed.assert_no_more_than_an_interval_lost()
        in_saves, runs = in_saves + killed.kills_in_saves(), runs + 1
    print(f"{cell}, {policy}: {kills} kills, {in_saves} of them in a save; {runs} runs ended as the one without")


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "policy"), COMBINATIONS)
def test_a_kill_at_every_place_of_a_save(tmp_path, program, cell, policy):
    arguments = {"cell": cell, "policy": policy, "steps": 300}
    whole = Run(program, tmp_path / "whole", **arguments).to_the_end()
    places = {}
    for half in (True, False):
        killed, place = Run(program, tmp_path / f"killed {half}", **arguments), 0
        killed.start(place=place, half=half)
        while not killed.wait():
            place += 1
            killed.start(place=place, half=half)
        assert killed.digests() == whole
        killed.assert_no_more_than_an_interval_lost()
        assert killed.kills_in_saves() == place
        places[half] = place
    print(f"{cell}, {policy}: killed before {places[False]} calls of a save and in the middle of {places[True]} writes")
    assert places[False] > 15 and places[True] == 3


@pytest.mark.slow
def test_a_seed_makes_the_run(tmp_path, program):
    arguments = {"cell": "lstm", "policy": "float32"}
    first, second, other = (
        Run(program, tmp_path / name, **arguments, seed=seed).to_the_end()
        for name, seed in (("first", 3), ("second", 3), ("other", 4))
    )
    assert first == second
    assert all(first[name] != other[name] for name in ("weights", "optimizer", "states", "best weights", "history"))


if __name__ == "__main__":
    main()
