"""Evaluations in the course of a run: what they measure, and averages of the weights."""

import dataclasses

import keras
import numpy as np
import pytest
from helpers.barnyard import SPLIT

from tfcharlm.text import TextSplit
from tfcharlm.training import TrainingConfig, TrainingRun, averaged_weights


@pytest.mark.slow
def test_averages_of_the_weights_are_evaluated_and_kept():
    """The average by hand at every evaluation; and training is the same as without averages."""
    config = TrainingConfig(
        steps=9, cell="rnn", units=8, batch_size=4, sequence_length=16, ema_momentum=0.75, learning_rate=0.02
    )
    runs = [TrainingRun(SPLIT, dataclasses.replace(config, ema_momentum=momentum)) for momentum in (0.0, 0.75)]
    seen, measured = [], []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(self.model.get_weights())

    run = runs[1]
    evaluate = run.model.evaluate
    run.model.evaluate = lambda *args, **kw: measured.append(run.model.get_weights()) or evaluate(*args, **kw)
    budget = run.budget()
    evaluations, _ = run.fit(budget, callbacks=[Look()], num_evaluations=3)
    plain, _ = runs[0].fit(runs[0].budget(), num_evaluations=3)
    average = seen[0]
    for number, weights in enumerate(seen, 1):
        average = [0.75 * a + 0.25 * w for a, w in zip(average, weights, strict=True)]
        if number % 3 == 0:
            for actual, expected in zip(measured[number // 3 - 1], average, strict=True):
                np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    evaluations.restore_best_weights()
    best = int(np.argmin([evaluation.val_loss for evaluation in evaluations.history]))
    for actual, expected in zip(run.model.get_weights(), measured[best], strict=True):
        np.testing.assert_array_equal(actual, expected)
    # Training continues with the updated weights, not with their average.
    assert [evaluation.loss for evaluation in evaluations.history] == [evaluation.loss for evaluation in plain.history]


@pytest.mark.slow
def test_evaluations_do_not_mix_training_with_validation():
    """A model that hardly learns has the same training loss throughout, on a text whose end is unlike its start."""
    rng = np.random.default_rng(0)
    text = "".join(rng.choice(list("abcdefghij"), size=9000)) + "z" * 1000
    config = TrainingConfig(epochs=1, cell="rnn", units=8, batch_size=4, sequence_length=16, learning_rate=1e-9)
    history = TrainingRun(TextSplit.from_text(text), config).train().history
    assert all(evaluation.loss == pytest.approx(np.log(10), abs=0.2) for evaluation in history)
    assert all(evaluation.val_loss > 4 for evaluation in history)


def test_averages_of_no_update_are_no_weights():
    """Every step is skipped: the weights stay, in `fit` and in evaluations."""
    config = TrainingConfig(steps=3, cell="rnn", units=8, batch_size=4, sequence_length=16, ema_momentum=0.75)
    run = TrainingRun(SPLIT, config)
    weights = run.model.get_weights()
    weights[0][0] = np.nan
    run.model.set_weights(weights)
    with pytest.warns(UserWarning, match="skipped"):
        run.model.fit(run.train_data, steps_per_epoch=3, verbose=0)
    with averaged_weights(run.model):
        inside = run.model.get_weights()
    for before, during, after in zip(weights, inside, run.model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, during)
        np.testing.assert_array_equal(before, after)


def test_averages_are_kept_of_a_run_that_is_interrupted_before_its_first_evaluation():
    """By hand, from the weights after each of five updates."""
    config = TrainingConfig(steps=500, cell="rnn", units=8, batch_size=4, sequence_length=16, ema_momentum=0.75)
    run, seen = TrainingRun(SPLIT, config), []

    def look(batch, logs):
        seen.append(run.model.get_weights())
        if len(seen) == 5:
            raise KeyboardInterrupt

    result = run.train(callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=look)])
    assert result.interrupted and not result.history
    average = seen[0]
    for weights in seen[1:]:
        average = [0.75 * a + 0.25 * w for a, w in zip(average, weights, strict=True)]
    for actual, expected in zip(result.model.get_weights(), average, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-7)
