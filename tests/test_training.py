"""A run: what it trains on, its schedule, its reports."""

import itertools
import re
import types

import numpy as np
import pytest

from tfcharlm.callbacks import annealed
from tfcharlm.recipe import TrainingConfig
from tfcharlm.text import Vocabulary, load_corpus
from tfcharlm.training import TrainingRun

TEXT = "the cat said why to the cow\nan old dog said no\n" * 40


def test_held_out_text_is_never_trained_on():
    """Two texts that differ in their last tenth only give the same weights."""
    other = TEXT[: -(len(TEXT) // 10)] + TEXT[: len(TEXT) // 10][::-1]
    config = TrainingConfig(epochs=1, units=8, batch_size=4, sequence_length=16)
    weights = []
    for text in (TEXT, other):
        run = TrainingRun(text, config)
        run.model.fit(run.train_data, verbose=0)
        weights.append(run.model.get_weights())
    assert Vocabulary.from_text(TEXT) == Vocabulary.from_text(other)
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_schedule_is_fitted_to_the_minutes(monkeypatch):
    """By a clock that goes on by 50 ms whenever somebody looks at it."""
    clock = itertools.count(1000.0, 0.05)
    monkeypatch.setattr("tfcharlm.distributed.time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    config = TrainingConfig(minutes=0.5, units=8, batch_size=4, sequence_length=16)
    history = TrainingRun(TEXT, config).train().history
    assert [round(report.seconds / 10, 1) for report in history] == [1, 2, 3]
    expected = [annealed(config.learning_rate, report.seconds / 30) for report in history]
    actual = [report.learning_rate for report in history]
    np.testing.assert_allclose(actual, expected, atol=0.02 * config.learning_rate)


def test_annealing():
    rates = [annealed(1.0, spent) for spent in np.linspace(0, 1, 101)]
    assert rates[0] == 0 and rates[-1] < 1e-12 and max(rates) > 0.99
    assert all(np.diff(rates[2:]) <= 0), "after the warm-up it only falls"


@pytest.mark.parametrize(("schedule", "half"), [("cosine", 0.5), ("linear", 0.5), ("constant", 1.0)])
def test_schedules(schedule, half):
    rates = [annealed(2.0, spent, schedule) for spent in np.linspace(0, 1, 101)]
    assert rates[0] == 0 and rates[50] == pytest.approx(2 * half) and max(rates) > 1.95
    assert rates[-1] == pytest.approx(0 if half < 1 else 2) and all(np.diff(rates[2:]) <= 0)


def test_a_budget_of_steps():
    """It does not end with the text, and every part of the configuration reaches the model."""
    parts = {"units": 7, "layers": 2, "embedding_dim": 5, "dropout": 0.25, "schedule": "linear", "clip_norm": 0.5}
    config = TrainingConfig(steps=80, batch_size=4, sequence_length=16, cell="rnn", learning_rate=0.003, **parts)
    result = TrainingRun(TEXT, config).train()
    assert result.steps == 80 and result.history[-1].step == 80 and len(result.history) == 12
    assert [report.learning_rate for report in result.history] == pytest.approx(
        [annealed(0.003, (report.step - 1) / 80, "linear") for report in result.history], rel=1e-5
    )
    model = result.model
    assert [type(layer.cell).__name__ for layer in model.recurrent] == ["RNNCell", "RNNCell"]
    assert model.weights[0].shape[1] == 5 and model.recurrent[1].cell.units == 7
    assert model.dropout.rate == 0.25 and model.dropout.counter.numpy() == 80
    assert model.optimizer.global_clipnorm == 0.5


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (
            {"minutes": 1, "steps": 5},
            "give one of minutes, epochs or steps, .* received minutes=1, steps=5",
        ),
        ({}, "such as minutes=2; received none of them"),
        ({"steps": 0}, "steps must be a number above 0"),
        ({"steps": 5, "schedule": "sine"}, "schedule must be one of cosine, linear, constant; received 'sine'"),
        ({"steps": 5, "dropout": 1}, "dropout must be a number from 0 to below 1; received 1"),
    ],
)
def test_configurations_that_cannot_be(wrong, line):
    with pytest.raises(ValueError, match=line):
        TrainingConfig(**wrong)


def test_reports_do_not_mix_training_with_validation():
    """A model that stands still, on a text whose end is unlike its beginning, has the same training loss throughout."""
    rng = np.random.default_rng(0)
    text = "".join(rng.choice(list("abcdefghij"), size=9000)) + "z" * 1000
    config = TrainingConfig(epochs=1, units=8, batch_size=4, sequence_length=16, learning_rate=1e-9)
    history = TrainingRun(text, config).train().history
    assert all(report.loss == pytest.approx(np.log(10), abs=0.2) for report in history)
    assert all(report.val_loss > 4 for report in history)


@pytest.mark.slow
def test_the_default_recipe_learns_the_plays():
    """One pass over nine tenths of Shakespeare's plays, by steps, so that a slow machine gives the same model."""
    run = TrainingRun(load_corpus("shakespeare"), TrainingConfig(epochs=1))
    result = run.train()
    text = result.model.generate("ROMEO:", max_length=4000, temperature=0.7, seed=1)
    known = set(re.findall(r"[a-z']+", load_corpus("shakespeare").lower()))
    words = re.findall(r"[a-z']+", text.lower())
    print(f"loss {result.val_loss:.4f}, words known {sum(word in known for word in words) / len(words):.3f}")
    assert result.val_loss < 1.6
    assert sum(word in known for word in words) > 0.85 * len(words)
