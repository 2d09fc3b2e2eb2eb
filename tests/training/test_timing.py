"""How long steps take, and whether others have the cores."""

import itertools
import types

import numpy as np
import pytest
from helpers.barnyard import SPLIT

from tfcharlm.checkpoint import values_of
from tfcharlm.model import NonFiniteError
from tfcharlm.training import BUSY, CoreWaiting, StepTiming, TrainingConfig, TrainingRun, time_steps, timing

CONFIG = {"cell": "rnn", "units": 7, "embedding_dim": 5, "batch_size": 4, "sequence_length": 16, "learning_rate": 0.02}
CONFIG |= {"dropout": 0.25, "weight_drop": 0.25, "ema_momentum": 0.75, "state_reset_probability": 0.125}


@pytest.mark.slow
def test_a_model_whose_steps_were_timed_trains_as_any_other():
    """Weights, averages, moments, states of rows and the counter of dropout, bit for bit."""
    runs = [TrainingRun(SPLIT, TrainingConfig(steps=5, seed=3, **CONFIG)) for _ in range(2)]
    assert time_steps(runs[1].model, runs[1].train_data, seconds=0, fewest=2) is not None
    assert float(runs[1].model.optimizer.learning_rate.numpy()) == pytest.approx(0.02)
    for run in runs:
        run.fit(run.budget(), num_evaluations=1)
    one, other = (values_of(run.model.run_state) for run in runs)
    assert set(one) == {"weights", "optimizer", "metrics", "states", "random"} and len(one["states"][0]) == 4
    for name in one:
        for a, b in zip(one[name], other[name], strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)


@pytest.mark.parametrize(("seconds", "steps"), [(0.5, 6), (2.0, 10)])
def test_the_mean_of_the_steps_after_the_first_two(monkeypatch, seconds, steps):
    """By a clock that advances by a quarter of a second in every step."""
    ticks = itertools.count(7.0, 0.25)
    monkeypatch.setattr("tfcharlm.model.replicas.time", types.SimpleNamespace(monotonic=lambda: next(ticks)))
    run = TrainingRun(SPLIT, TrainingConfig(steps=1, **CONFIG))
    assert time_steps(run.model, run.train_data, seconds).step == 0.25
    assert next(ticks) == 7.0 + 0.25 * steps


def test_what_cannot_be_timed(monkeypatch):
    """A text of two batches, and steps that are not finite; in both the model stays as it was."""
    run = TrainingRun(SPLIT, TrainingConfig(steps=1, **CONFIG))
    before = run.model.get_weights()
    assert time_steps(run.model, run.train_data.take(2)) is None
    with monkeypatch.context() as patch:
        patch.setattr(run.model, "fit", lambda *_, **__: (_ for _ in ()).throw(NonFiniteError("step 3")))
        assert time_steps(run.model, run.train_data) is None
    for a, b in zip(before, run.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_fraction_of_the_time_in_which_threads_wait(monkeypatch, tmp_path, rng):
    """From files as Linux writes them, of threads that begin and end."""
    monkeypatch.setattr(timing, "THREADS", tmp_path)
    assert CoreWaiting().fraction() is None
    counts = rng.integers(0, 10**9, (3, 2, 2))
    counts[:, 1] += counts[:, 0]

    def write(now):
        for thread, (ran, waited) in enumerate(counts[:, now]):
            (tmp_path / str(thread)).mkdir(exist_ok=True)
            (tmp_path / str(thread) / "schedstat").write_text(f"{ran} {waited} 17\n")

    write(0)
    waiting = CoreWaiting()
    (tmp_path / "ended").mkdir()
    (tmp_path / "ended" / "schedstat").symlink_to("nothing")
    write(1)
    ran, waited = (counts[:, 1] - counts[:, 0]).sum(axis=0)
    assert waiting.fraction() == pytest.approx(waited / (ran + waited))
    assert waiting.fraction() is None, "nothing ran since"


def test_a_machine_is_busy_if_it_is_known_to_be():
    timings = [StepTiming(1.0, 0.1, waiting) for waiting in (None, 0.0, BUSY, BUSY + 0.01, 1.0)]
    assert [timing.is_busy for timing in timings] == [False, False, False, True, True]
