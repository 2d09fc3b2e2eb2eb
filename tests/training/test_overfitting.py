"""Runs that end early because more training makes the model worse, and those that must not."""

import contextlib
import csv
import itertools
import math
import types
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.barnyard import SPLIT
from helpers.checkpoints import silent
from helpers.failing_calls import Killed
from helpers.killed_runs import TEXT

from tfcharlm.checkpoint.state import assign, values_of
from tfcharlm.text import TextSplit
from tfcharlm.training import Evaluation, TrainingConfig, TrainingRun, is_overfitting

CURVES = sorted(Path(__file__).parents[2].glob("saved_models/*/*/assets.extra/learning_curve.csv"))
SMALL = {"cell": "rnn", "units": 8, "batch_size": 4, "sequence_length": 16}


def test_three_losses_in_a_row_are_clearly_above_the_lowest(rng):
    ends = 0
    for _ in range(500):
        losses = np.cumsum(rng.normal(0.02, 0.1, size=rng.integers(1, 13))) + 2.5
        high = [loss / losses.min() - 1 > 0.05 for loss in losses]
        wanted = len(losses) > 3 and high[-1] and high[-2] and high[-3]
        assert is_overfitting(losses.tolist()) == wanted
        ends += wanted
    assert 50 < ends < 450


@pytest.mark.parametrize("path", CURVES, ids=lambda path: path.parts[-4])
def test_long_runs_of_the_models_in_the_repository_do_not_end(path):
    losses = [float(row["val_loss"]) for row in csv.DictReader(path.read_text().splitlines())]
    assert len(losses) >= 9
    # Also if two of three evaluations are bad, or if nothing improves for long.
    bad = [loss * (1.3 if i % 3 else 1) for i, loss in enumerate(losses)]
    for curve in (losses, bad, [losses[0], *(1.04 * losses[0] for _ in losses[1:])]):
        assert not any(is_overfitting(curve[:end]) for end in range(len(curve) + 1))


@pytest.fixture
def slow_clock(monkeypatch):
    """A clock that advances by 50 ms at every look."""
    clock = itertools.count(1000.0, 0.05)
    monkeypatch.setattr("tfcharlm.model.replicas.time", types.SimpleNamespace(monotonic=lambda: next(clock)))


# The second is the lowest, the sixth is the third one in a row that is clearly higher. Then the best is the tenth.
PLANNED = [2.0, 1.5, 1.55, 1.6, 1.7, 1.9, 1.45, 1.4, 1.3, 1.2, 1.25, 1.4, 1.5, 1.6, 1.7, 1.9]


def test_minutes_end_early_after_cooling_and_steps_do_not(slow_clock):
    """From the second evaluation of twelve on, the rest of the run takes half of the time until then."""
    weights = []

    def evaluate(*_, **__):
        weights.append(run.model.get_weights())
        loss = PLANNED[min(len(weights), len(PLANNED)) - 1]
        return {"loss": loss, "bits_per_character": loss / math.log(2)}

    for budget, evaluations, best in (({"minutes": 2}, 16, 9), ({"steps": 24}, 12, 9)):
        run = TrainingRun(SPLIT, TrainingConfig(**budget, **SMALL))
        run.model.evaluate = evaluate
        weights.clear()
        result = run.train()
        assert [evaluation.val_loss for evaluation in result.history] == PLANNED[:evaluations]
        assert result.ended_early == ("minutes" in budget) and not result.interrupted
        # The last evaluation is that of all held-out text.
        assert len(weights) == evaluations + 1
        for actual, expected in zip(result.model.get_weights(), weights[best], strict=True):
            np.testing.assert_array_equal(actual, expected)
        if "minutes" in budget:
            times = [evaluation.seconds for evaluation in result.history]
            assert times[-1] == pytest.approx(times[5] + 0.5 * times[1], abs=0.5)
            rates = [evaluation.learning_rate for evaluation in result.history]
            np.testing.assert_allclose(rates[6:], rates[2:6] + rates[6:][4:], rtol=0.15)
            assert rates[6] > rates[9] > rates[12] > rates[15]

            def distance(one, other):
                return sum(np.square(a - b).sum() for a, b in zip(weights[one], weights[other], strict=True))

            assert distance(6, 1) < distance(6, 5), "it has gone back"
    assert result.steps == 24


@pytest.mark.slow
def test_averaged_weights_go_back_too(slow_clock):
    """Otherwise the evaluations afterwards would still see averages of the weights that were left behind."""
    evaluated, kept = [], []

    def evaluate(*_, **__):
        evaluated.append(run.model.get_weights())
        kept.append([variable.numpy() for variable in run.model.optimizer._model_variables_moving_average])
        loss = PLANNED[min(len(evaluated), len(PLANNED)) - 1]
        return {"loss": loss, "bits_per_character": loss / math.log(2)}

    run = TrainingRun(SPLIT, TrainingConfig(minutes=2, ema_momentum=0.9, learning_rate=0.05, **SMALL))
    run.model.evaluate = evaluate
    assert run.train().ended_early

    def distance(one, other):
        return sum(np.square(a - b).sum() for a, b in zip(evaluated[one], evaluated[other], strict=True))

    assert distance(6, 1) < distance(6, 5)


def test_a_run_that_began_from_a_better_model_ends_at_once(slow_clock):
    planned = iter([1.0, 1.2, 1.1, 1.3])

    def evaluate(*_, **__):
        loss = next(planned, 1.0)
        return {"loss": loss, "bits_per_character": loss / math.log(2)}

    run = TrainingRun(SPLIT, TrainingConfig(minutes=2, **SMALL))
    before = run.model.get_weights()
    run.start = Evaluation(0, 0.0, 0, 0.0, None, None, 1.0, 1.44)
    run.model.evaluate = evaluate
    next(planned)
    result = run.train()
    assert len(result.history) == 4 and result.ended_early and result.history[-1].seconds < 60
    for actual, expected in zip(result.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.slow
def test_a_run_that_is_killed_and_resumed_ends_at_the_same_step(tmp_path):
    """Also if it is killed after it ended, before its model was saved."""
    config = TrainingConfig(steps=120, units=11, batch_size=3, sequence_length=8, cell="rnn", learning_rate=0.05)
    run = TrainingRun(TextSplit.from_text(TEXT), config)
    run.model.optimizer.build(run.model.trainable_variables)
    run.model.build_metrics(next(iter(run.train_data)))
    first = {name: [np.array(value) for value in group] for name, group in values_of(run.model.run_state).items()}

    def outcome(directory, dies_after=None):
        assign(run.model.run_state, first)
        seen = itertools.count(1)

        def die(batch, logs):
            if next(seen) == dies_after:
                raise Killed

        callbacks = [silent(directory, steps=4), keras.callbacks.LambdaCallback(on_train_batch_end=die)]
        with contextlib.suppress(Killed):
            evaluations, _ = run.fit(run.budget(), callbacks=callbacks, ends_early=True)
            losses = [(evaluation.step, evaluation.loss, evaluation.val_loss) for evaluation in evaluations.history]
            # A process that finds the run ended has no use for the last weights.
            return evaluations.ended_early, losses, [array.tobytes() for array in evaluations.best_weights]

    whole = outcome(tmp_path / "whole")
    print("ends after step", whole[1][-1][0])
    assert whole[0] and whole[1][-1][0] < config.steps
    steps = [step for step, *_ in whole[1]]
    [turn] = [i for i, (one, other) in enumerate(itertools.pairwise(np.diff(steps))) if other < one / 2][:1]
    print("goes back after step", steps[turn + 1])
    for step in (13, steps[turn + 1] + 2, steps[-1] - 1):
        assert outcome(tmp_path / f"killed {step}", dies_after=step) is None
        assert outcome(tmp_path / f"killed {step}") == whole
    assert outcome(tmp_path / "whole") == whole
    evaluations, _ = run.fit(run.budget(), num_evaluations=12)
    assert len(evaluations.history) == 12 and not evaluations.ended_early, "searches do not end early"
