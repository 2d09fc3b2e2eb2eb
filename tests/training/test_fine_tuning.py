"""A run that begins from a trained model: what it keeps, what is chosen for it, and that it does not end worse."""

import keras
import numpy as np
import pytest
from helpers.barnyard import TEXT

import tfcharlm
from tfcharlm.layers import CELLS
from tfcharlm.text import DIGITS, TextSplit, Vocabulary
from tfcharlm.training import (
    TrainingConfig,
    TrainingRun,
    architecture,
    build_model,
    fine_tuning_run,
    joint_vocabulary,
    planning,
    suggest_config,
    unigram_loss,
    weights_sha256,
    with_architecture,
)

SMALL = {"batch_size": 4, "sequence_length": 16}
# A text with two new tokens, and without some of the known ones.
OTHER = TEXT.replace("cow", "Cow").replace("dog", "do7")


@pytest.fixture(scope="module")
def start():
    """A model of the text that has learned something of it."""
    config = TrainingConfig(steps=60, cell="rnn", units=9, embedding_dim=5, learning_rate=0.02, **SMALL)
    return TrainingRun(TextSplit.from_text(TEXT), config).train().model


def split_for(model, text):
    return TextSplit.from_text(text, vocabulary=joint_vocabulary(model.vocabulary, text))


def test_the_vocabulary_has_the_tokens_of_the_model_with_their_ids_and_the_new_ones():
    known = Vocabulary(["z", "y", "x", *DIGITS])
    assert joint_vocabulary(known, "xyz" * 3) is known
    text = "xaybxa"
    assert joint_vocabulary(known, text).tokens == ("z", "y", "x", *sorted(set(text) - set("zyx")), *DIGITS)
    assert joint_vocabulary(Vocabulary("zyx"), text).tokens == joint_vocabulary(known, text).tokens
    words = Vocabulary([" be", "to"], level="word")
    assert joint_vocabulary(words, "to see").tokens == (" be", "to", " ", " see", *"eost", *DIGITS)
    assert joint_vocabulary(words, "to see").level == "word"


@pytest.mark.parametrize("name", CELLS)
def test_the_architecture_of_a_model_is_that_of_its_configuration(name):
    parts = {"cell": name, "units": 7, "layers": 2, "embedding_dim": 3, "skip_connections": True, "level": "word"}
    parts["members"] = 3
    parts |= {"cap_input_gate": True} if name == "lstm" else {}
    model = build_model(TextSplit.from_text(TEXT, level="word"), TrainingConfig(steps=1, **parts))
    assert parts.items() <= architecture(model).items() <= vars(TrainingConfig(steps=1, **parts)).items()


def test_an_option_that_contradicts_the_model_is_one_line(start):
    given = with_architecture({"steps": 3, "units": 9, "dropout": 0.5}, start)
    assert given == {"steps": 3, "dropout": 0.5} | architecture(start)
    for name, value in {"units": 8, "cell": "lstm", "layers": 2, "level": "byte", "members": 2}.items():
        line = f"{name}={value} contradicts the model to begin from, which has {name}={architecture(start)[name]}; omit"
        with pytest.raises(ValueError, match=line):
            with_architecture({"steps": 3, name: value}, start)


@pytest.mark.parametrize(
    "cells", [[tfcharlm.RNNCell(3), tfcharlm.RNNCell(4)], [keras.layers.LSTMCell(3)]], ids=["two widths", "of Keras"]
)
def test_layers_that_no_configuration_describes_are_for_python(cells):
    with pytest.raises(
        ValueError, match=r"must have equal layers of lstm, gru, rnn cells; received .*type TrainingRun"
    ):
        architecture(tfcharlm.CharLM(Vocabulary("ab"), cells))


def test_a_run_begins_from_the_model_and_says_how_good_it_is(start):
    """The first point of the curve by hand: the loss of the model with the new tokens on the held-out text."""
    before = start.get_weights()
    split = split_for(start, OTHER)
    training = fine_tuning_run(split, {"steps": 7, "dropout": 0.25, "seed": 3, **SMALL}, start, "barn/1")
    assert training.began_from == {"model": "barn/1", "weights_sha256": weights_sha256(start)}
    assert training.config.units == 9 and training.config.cell == "rnn"
    assert training.model.dropout_masks.rates["dropout"] == 0.25 and training.model.dropout_masks.seed == 3
    reader = start.with_vocabulary(split.vocabulary, split.train_token_counts)
    for variable, other in zip(training.model.weights[1:-2], reader.weights[1:-2], strict=True):
        np.testing.assert_array_equal(variable, other)
    reader.set_weights(training.model.get_weights())
    ids, losses = split.validation_ids, []
    length = -(-(len(ids) - 1) // 4)
    for row in range(4):
        part = ids[row * length : (row + 1) * length + 1]
        logits, _ = reader.step(part[None, :-1], reader.initial_state(1))
        logits = logits.numpy()[0]
        losses += list(np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(part) - 1), part[1:]])
    seen = []
    result = training.train(on_evaluation=lambda evaluation, history: seen.append((evaluation, len(history))))
    first = result.history[0]
    assert (first.step, first.tokens, first.loss, first.bits_per_character) == (0, 0, None, None)
    assert first.val_loss == pytest.approx(np.mean(losses), rel=1e-4)
    assert seen[0] == (first, 1) and [evaluation.step for evaluation, _ in seen] == list(range(8))
    for array, kept in zip(start.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_a_run_that_makes_the_model_worse_keeps_it(start):
    split = split_for(start, TEXT)
    training = fine_tuning_run(split, {"steps": 4, "learning_rate": 300.0, "schedule": "constant", **SMALL}, start)
    result = training.train()
    assert min(evaluation.val_loss for evaluation in result.history[1:]) > result.history[0].val_loss
    for array, kept in zip(result.model.get_weights(), start.get_weights(), strict=True):
        np.testing.assert_array_equal(array, kept)


def test_the_learning_rate_is_low_for_a_model_that_knows_the_text(start):
    """It is that of a new model if the model predicts worse than frequencies do, and what the user gave in any case."""
    default = TrainingConfig.learning_rate
    known = fine_tuning_run(split_for(start, OTHER), {"steps": 3, **SMALL}, start)
    assert known.start.val_loss < unigram_loss(known.split) and known.config.learning_rate == round(0.5 * default, 4)
    strange = fine_tuning_run(split_for(start, OTHER.swapcase()[::-1]), {"steps": 3, **SMALL}, start)
    assert strange.start.val_loss > unigram_loss(strange.split) and strange.config.learning_rate == default
    given = fine_tuning_run(split_for(start, OTHER), {"steps": 3, "learning_rate": 0.01, **SMALL}, start)
    assert given.config.learning_rate == 0.01


@pytest.mark.parametrize("copies", [1, -(-100_000 // len(TEXT))], ids=["small text", "larger text"])
def test_minutes_choose_what_suits_the_size_of_the_model(start, monkeypatch, copies):
    """The learning rate is half of the careful one, whatever a new model of the text would have."""
    monkeypatch.setattr(planning, "measured_speed", lambda: 1e8)
    split = split_for(start, TEXT * copies)
    shape = {"units": 9, "cell": "rnn", "layers": 1, "embedding_dim": 5, "skip_connections": False, "members": 1}
    expected = suggest_config(60, 1e8, len(split.train_ids), len(split.vocabulary), split.train_characters, **shape)
    training = fine_tuning_run(split, {"minutes": 1}, start)
    assert expected["learning_rate"] == (0.02 if copies == 1 else 0.03)
    rate = 0.01
    assert training.suggested == expected | {"learning_rate": rate} and (expected["weight_drop"] > 0) == (copies == 1)
    again = fine_tuning_run(split, {"minutes": 1}, start, earlier=training.suggested | {"batch_size": 2})
    assert again.config.learning_rate == rate and again.config.batch_size == 2


def test_the_loss_of_frequencies():
    split = TextSplit.from_text("aab" * 30 + "abb" * 10, validation_fraction=0.25)
    a, b = (split.vocabulary.decode(split.train_ids).count(token) + 1 for token in "ab")
    held_out = split.vocabulary.decode(split.validation_ids)
    expected = -np.mean([np.log((a if token == "a" else b) / (a + b + len(DIGITS))) for token in held_out])
    assert unigram_loss(split) == pytest.approx(expected, rel=1e-12)


def test_the_digest_is_of_every_weight_and_token(start):
    digest = weights_sha256(start)
    for number in range(len(start.weights)):
        arrays = start.get_weights()
        arrays[number].flat[-1] = np.nextafter(arrays[number].flat[-1], np.float32(9))
        other = start.with_vocabulary(start.vocabulary)
        other.set_weights(arrays)
        assert weights_sha256(other) != digest
    first, second, *others = start.vocabulary.tokens
    renamed = tfcharlm.text.Vocabulary([second, first, *others])
    other = tfcharlm.CharLM(renamed, [tfcharlm.RNNCell(9)], 5)
    other.set_weights(start.get_weights())
    assert weights_sha256(other) != digest
