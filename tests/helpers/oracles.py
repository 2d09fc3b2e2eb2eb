"""Searches in one process: chiefs and workers are objects, and a kill is an object that is dropped."""

import pytest
from keras_tuner.engine.trial import Trial

from tfcharlm.tuning import make_oracle
from tfcharlm.tuning.fault_tolerance.leases import claim

CELLS, RATES = ["lstm", "rnn", "gru"], [0.5, 0.25, 0.125]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def ticks(self, seconds):
        """Lets seconds pass one by one."""
        for _ in range(seconds):
            self.now += 1
            yield self.now


def declare(hp):
    """A space of (2 + 5) * 3 * 3 combinations."""
    hp.Choice("cell", CELLS)
    hp.Choice("rate", RATES)
    hp.Int("units", 2, 6, step=2)
    with hp.conditional_scope("cell", ["gru"]):
        hp.Int("reset", 1, 5)


def begin(directory, kind="random", trials=7, reload=False, messages=None, **kwargs):
    """A chief's oracle."""
    oracle = make_oracle(kind, directory, trials=trials, seed=3, **kwargs)
    oracle.on_message = [].append if messages is None else messages.append
    # What Keras Tuner's tuner says to an oracle.
    oracle._set_project_dir(str(directory.parent), directory.name)
    if reload:
        oracle.reload()
    else:
        space = oracle.get_space()
        declare(space)
        oracle.update_space(space)
        oracle.save()
    return oracle


def loss(trial):
    values = trial.hyperparameters.values
    return 1 + values["rate"] + 1 / values["units"]


def ended(trial, worker="", status="COMPLETED", value=None, message=None):
    """What a worker sends in the end; `trial` goes over the wire."""
    trial = Trial.from_proto(trial.to_proto())
    trial.trial_id = claim(trial.trial_id, worker)
    trial.status, trial.message = status, message
    if status == "COMPLETED":
        trial.metrics.update("val_loss", loss(trial) if value is None else value)
    return trial


def play(oracle, workers=("worker0", "worker1"), between=lambda oracle: oracle):
    """Runs a search to its end. `between` may put another oracle in its place after every message."""
    for _ in range(1000):
        running, stopped = [], []
        for worker in workers:
            trial = oracle.create_trial(worker)
            (stopped if trial.status == "STOPPED" else running).append((worker, trial))
            oracle = between(oracle)
        for worker, trial in running:
            if trial.status == "RUNNING":
                oracle.end_trial(ended(trial, worker))
                oracle = between(oracle)
        if len(stopped) == len(workers):
            return oracle
    raise AssertionError("the search does not end")


def values_of(oracle):
    return [trial.hyperparameters.values for trial in oracle.trials.values()]


def assert_complete(oracle, trials):
    assert oracle.stopped_because is None and oracle.is_over() and not oracle.tuner_ids
    assert len(oracle.trials) == trials and sorted(oracle.end_order) == sorted(oracle.trials)
    assert all(trial.status == "COMPLETED" for trial in oracle.trials.values())
    assert all(trial.score == pytest.approx(loss(trial)) for trial in oracle.trials.values())
