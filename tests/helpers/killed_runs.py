"""Training runs that die, and everything that is there when they end.

As a program, this module is what is killed: a process that has imported TensorFlow and forks one for every start of a
run.
"""

import contextlib
import hashlib
import itertools
import json
import os
import signal
import sys
import time
from pathlib import Path
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from helpers.checkpoints import silent as silent_checkpoint
from helpers.failing_calls import Calls, Killed
from tfcharlm.checkpoint import CheckpointStore
from tfcharlm.text import TextSplit
from tfcharlm.training import PeriodicEvaluation, TrainingConfig, TrainingRun

# The held-out end is unlike the rest: the first report is the best one.
TEXT = "abcd efg\n" * 150 + "".join(np.random.default_rng(0).choice(list("abcd efg\n"), 150))
SMALL = {"units": 11, "embedding_dim": 5, "batch_size": 3, "sequence_length": 8, "dropout": 0.3, "learning_rate": 0.03}
SMALL |= {"weight_drop": 0.2, "input_dropout": 0.1, "state_reset_probability": 0.1}
SMALL |= {"weight_decay": 0.01, "ema_momentum": 0.9}
# Steps between saves: at most so many are lost.
INTERVAL = 4


def digests_of(training, checkpoint, on_step=lambda spent: None):
    """Trains to the end; the SHA-256 of everything that is there then, by what it is."""
    last = []

    def restore(reporter):
        last.extend(training.model.get_weights())
        original(reporter)

    original = PeriodicEvaluation.restore_best_weights
    with mock.patch.object(PeriodicEvaluation, "restore_best_weights", restore):
        result = training.train(on_step=on_step, callbacks=[checkpoint])
    model = training.model
    reports = [{**vars(report), "seconds": None} for report in result.history]
    parts = {
        "weights": last,
        "optimizer": model.optimizer.variables,
        "states": model.carried_variables,
        "dropout": [model.dropout_masks.counter],
        "best weights": model.get_weights(),
        "history": [np.frombuffer(repr(reports).encode(), np.uint8)],
        "end": [np.array([result.steps, result.val_loss])],
    }
    return {name: hashlib.sha256(b"".join(map(bytes_of, arrays))).hexdigest() for name, arrays in parts.items()}


def bytes_of(array):
    return (array if isinstance(array, np.ndarray) else array.numpy()).tobytes()


class Subject:
    """A run that can be started again as often as a test needs, traced only once."""

    def __init__(self):
        config = TrainingConfig(steps=30, cell="lstm", **SMALL)
        self.training = TrainingRun(TextSplit.from_text(TEXT), config)
        model = self.training.model
        model.optimizer.build(model.trainable_variables)
        variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
        variables += [*model.carried_variables, model.dropout_masks.counter]
        self._first = [(variable, variable.numpy()) for variable in variables]

    def digests(self, directory, steps=INTERVAL, dies_after=None):
        """Of a new process; None if it died."""
        for variable, value in self._first:
            variable.assign(value)

        def die(spent):
            if round(spent * self.training.config.steps) == dies_after:
                raise Killed

        with contextlib.suppress(Killed), mock.patch("tfcharlm.training.run.NUM_EVALUATIONS", 3):
            return digests_of(self.training, silent(directory, steps), die)


def silent(directory, steps=INTERVAL):
    return silent_checkpoint(directory, steps=steps)


def process(directory, cell, policy, seed=0, steps=60, place=None, half=False):
    """A start of a run. It notes what it does.

    It kills itself in its second save: before the call at a place, or in the middle of the write at a place of writes.
    """
    keras.config.set_dtype_policy(policy)
    config = TrainingConfig(steps=steps, cell=cell, seed=seed, **SMALL)
    training, saves, writes, save = (
        TrainingRun(TextSplit.from_text(TEXT), config),
        0,
        itertools.count(),
        CheckpointStore.save,
    )
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
        """Every process continues at a step of the last interval, and skips none."""
        last = 0
        for (before, _), (name, step) in itertools.pairwise(self.notes()):
            if name == "step":
                first = before == "begins" or last == 0
                assert last - INTERVAL < step <= last + 1 if first else step == last + 1
                last = step

    def kills_in_saves(self):
        names = [name for name, _ in self.notes()]
        return sum(pair == ("saves", "begins") for pair in itertools.pairwise(names))


if __name__ == "__main__":
    main()
