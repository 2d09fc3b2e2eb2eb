"""A run: what it trains on, when it ends, and the size that suits a time."""

import re

import numpy as np
import pytest
from helpers.barnyard import SPLIT, TEXT

from tfcharlm.layers import Wiring
from tfcharlm.text import TextSplit, Vocabulary, load_corpus
from tfcharlm.training import SUGGESTED, TrainingConfig, TrainingRun, learning_rate_at, planning, suggest_config


def test_held_out_text_is_never_trained_on():
    """Two texts that differ in their last tenth only give the same weights."""
    other = TEXT[: -(len(TEXT) // 10)] + TEXT[: len(TEXT) // 10][::-1]
    config = TrainingConfig(epochs=1, cell="rnn", units=8, batch_size=4, sequence_length=16)
    weights = []
    for text in (TEXT, other):
        training = TrainingRun(TextSplit.from_text(text), config)
        training.model.fit(training.train_data, verbose=0)
        weights.append(training.model.get_weights())
    assert Vocabulary.from_text(TEXT) == Vocabulary.from_text(other)
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_budget_of_steps():
    """It does not end with the text, and every part of the configuration reaches the model."""
    parts = {"units": 7, "layers": 2, "embedding_dim": 5, "dropout": 0.25, "schedule": "linear", "clip_norm": 0.5}
    parts |= {"input_dropout": 0.125, "weight_drop": 0.375, "skip_connections": True, "members": 3}
    parts |= {"state_reset_probability": 0.03125, "unigram_output_bias": False, "random_start": False}
    config = TrainingConfig(steps=80, batch_size=4, sequence_length=16, cell="rnn", learning_rate=0.003, **parts)
    training = TrainingRun(SPLIT, config)
    description = training.train_data.source.description()
    assert not np.any(training.model.head.bias) and not description["random_start"]
    assert description["state_reset_probability"] == 0.03125
    result = training.train()
    assert result.steps == 80 and result.history[-1].step == 80 and len(result.history) == 12
    assert [evaluation.learning_rate for evaluation in result.history] == pytest.approx(
        [learning_rate_at(0.003, (evaluation.step - 1) / 80, "linear") for evaluation in result.history], rel=1e-5
    )
    model = result.model
    assert [type(layer.cell).__name__ for layer in model.recurrent] == ["RNNCell"] * 6
    assert model.weights[0].shape[1] == 5 and model.recurrent[1].cell.units == 7
    assert model.dropout_masks.rates == {"dropout": 0.25, "input_dropout": 0.125, "weight_drop": 0.375}
    assert model.dropout_masks.counter.numpy() == 80
    assert model.optimizer.global_clipnorm == 0.5
    assert model.wiring == Wiring(6, members=3, skip_connections=True)


@pytest.fixture
def speed(monkeypatch):
    """Sets the speed of this machine."""
    return lambda value: monkeypatch.setattr(planning, "measured_speed", lambda: value)


def test_the_size_is_suggested_for_the_speed_and_the_text(speed):
    """As `suggest_config` does it; what is given overrides it, and the shape of the layers is taken into account."""
    speed(1e9)
    split = TextSplit.from_text(TEXT, level="word")
    given = {"minutes": 0.5, "layers": 2, "cell": "rnn", "weight_drop": 0.25, "level": "word", "seed": 3}
    training = TrainingRun.with_suggested_size(split, given)
    tokens, characters = len(split.train_ids), len(split.vocabulary.decode(split.train_ids))
    expected = suggest_config(30, 1e9, tokens, len(split.vocabulary), characters, layers=2, cell="rnn")
    assert characters > 1.5 * tokens and expected["weight_drop"] != 0.25
    assert training.config == TrainingConfig(**expected | given)
    assert training.suggested == expected | {"weight_drop": 0.25} and set(training.suggested) == set(SUGGESTED)
    assert training.model.recurrent[1].cell.units == expected["units"]


def test_a_resumed_run_keeps_the_size_that_was_suggested_before(speed):
    """On a machine that is found to be faster, which is measured all the same: all workers must take part."""
    measured = []
    speed(1e7)
    before = TrainingRun.with_suggested_size(SPLIT, {"minutes": 0.25})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "measured_speed", lambda: measured.append(1) or 5e12)
        again = TrainingRun.with_suggested_size(SPLIT, {"minutes": 0.25}, earlier=before.suggested)
        faster = TrainingRun.with_suggested_size(SPLIT, {"minutes": 0.25, "units": 8, "batch_size": 2})
    assert again.config == before.config and len(measured) == 2
    assert faster.suggested["dropout"] != before.suggested["dropout"]


@pytest.mark.slow
def test_the_default_configuration_learns_the_plays():
    """One epoch over nine tenths of Shakespeare's plays, by steps, so that a slow machine gives the same model."""
    plays = load_corpus("shakespeare")
    result = TrainingRun(TextSplit.from_text(plays), TrainingConfig(epochs=1)).train()
    text = result.model.generate("ROMEO:", max_length=4000, temperature=0.7, seed=1)
    known = set(re.findall(r"[a-z']+", plays.lower()))
    words = re.findall(r"[a-z']+", text.lower())
    print(f"loss {result.val_loss:.4f}, words known {sum(word in known for word in words) / len(words):.3f}")
    assert result.val_loss < 1.6
    assert sum(word in known for word in words) > 0.85 * len(words)
