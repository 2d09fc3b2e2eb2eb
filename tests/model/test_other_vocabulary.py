"""A model over another vocabulary: what is kept, and how new tokens begin."""

import math
from collections import Counter

import keras
import numpy as np
import pytest
from helpers.example_cells import make_cell
from helpers.others_cells import Leaky, TwoStates

import tfcharlm
from tfcharlm.text import Vocabulary

OLD = Vocabulary("acedb\nE")
# In another order, without two of the old tokens; é is like e, B like b, and nothing is like 7 and あ.
NEW = Vocabulary("7Béabcd\nあ")
SHARED = [token for token in NEW.tokens if token in OLD.tokens]
LIKE = {"é": "e", "B": "b"}


class Unregistered(tfcharlm.RecurrentCell):
    """A cell of the user of which neither Keras nor an export knows."""

    def step(self, z, states, parameters):
        return {"h": keras.ops.tanh(z[0]) * 0.5 + 0.5 * states["h"]}


def twice(cell):
    return [cell, cell]


MODELS = {
    "two layers": lambda: ([tfcharlm.LSTMCell(5), tfcharlm.RNNCell(3)], {}),
    "skip connections": lambda: ([tfcharlm.GRUCell(5), tfcharlm.RNNCell(3)], {"skip_connections": True}),
    "two networks": lambda: ([tfcharlm.GRUCell(5), tfcharlm.RNNCell(3)], {"members": 2}),
    "dropout of everything": lambda: (
        [tfcharlm.LSTMCell(5, cap_input_gate=True)],
        {"dropout": 0.25, "input_dropout": 0.5, "weight_drop": 0.125, "dropout_seed": 7},
    ),
    "stacked cells of Keras": lambda: (
        [keras.layers.StackedRNNCells([keras.layers.GRUCell(4), keras.layers.LSTMCell(3)])], {},
    ),
    "Keras's dropout": lambda: ([keras.layers.LSTMCell(4, dropout=0.25, seed=3)], {}),
    "a registered cell": lambda: ([make_cell("projected_lstm")], {}),
    "a cell that is not registered": lambda: ([Unregistered(4)], {}),
    "somebody's cells": lambda: ([TwoStates(4, 3), Leaky(5, rate=0.25)], {}),
    "the same cell twice": lambda: (twice(tfcharlm.RNNCell(2)), {}),
}  # fmt: skip


def make(rng, name="two layers"):
    cells, options = MODELS[name]()
    model = tfcharlm.CharLM(OLD, cells, embedding_dim=2, name="old", **options)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
    return model


def rows(vocabulary, tokens):
    return [vocabulary.tokens.index(token) for token in tokens]


@pytest.mark.parametrize("name", MODELS)
def test_what_both_vocabularies_have_is_kept(rng, name, small_graphs):
    """The same logits of shared tokens after the same text, bit for bit the same weights, and the same options."""
    old = make(rng, name)
    before, config = old.get_weights(), old.get_config()
    new = old.with_vocabulary(NEW, rng.integers(9, size=len(NEW)))
    assert not new.compiled and new.vocabulary == NEW
    assert {**new.get_config(), "vocabulary": 0} == {**config, "vocabulary": 0}
    there, here = rows(OLD, SHARED), rows(NEW, SHARED)
    text = rng.integers(len(SHARED), size=(2, 7))
    expected, states = old.step(np.array(there)[text], old.initial_state(2))
    logits, new_states = new.step(np.array(here)[text], new.initial_state(2))
    np.testing.assert_allclose(logits.numpy()[..., here], expected.numpy()[..., there], rtol=1e-5, atol=1e-6)
    for one, other in zip(new_states, states, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    first, *middle, kernel, bias = new.get_weights()
    known = before[0][there], *before[1:-2], before[-2][:, there], before[-1][there]
    for array, kept in zip((first[here], *middle, kernel[:, here], bias[here]), known, strict=True):
        np.testing.assert_array_equal(array, kept)
    new.set_weights([0 * array for array in new.get_weights()])
    for array, kept in zip(old.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)
    assert old.vocabulary == OLD and old.get_config() == config


def test_new_tokens_begin_like_those_they_resemble_or_at_random(rng):
    old = make(rng)
    (table, *_, kernel, bias), text = old.get_weights(), "bBB7éé\nccc" * 5 + "e"
    counts = Counter(text)
    new = old.with_vocabulary(NEW, [counts[token] for token in NEW.tokens])
    new_table, *_, new_kernel, new_bias = new.get_weights()
    for token, relative in LIKE.items():
        here, there = NEW.tokens.index(token), OLD.tokens.index(relative)
        np.testing.assert_array_equal(new_table[here], table[there])
        np.testing.assert_array_equal(new_kernel[:, here], kernel[:, there])
        # E is not in the new vocabulary, so its count is not known, and é takes its place.
        occurs = counts[relative] if relative in NEW.tokens else 0
        share = (counts[token] + 1) / (counts[token] + occurs + 2)
        assert new_bias[here] == pytest.approx(bias[there] + math.log(share), rel=1e-5)
    total = sum(counts[token] + 1 for token in NEW.tokens)
    for token in "7あ":
        here = NEW.tokens.index(token)
        assert new_bias[here] == pytest.approx(math.log((counts[token] + 1) / total), rel=1e-5)
        limit = math.sqrt(6 / (3 + len(NEW)))
        assert np.abs(new_table[here]).min() > 0 and 0 < np.abs(new_kernel[:, here]).max() <= limit
    seven, other = rows(NEW, "7あ")
    assert not np.allclose(new_table[seven], new_table[other])


def test_without_counts_new_tokens_begin_as_rare_ones(rng):
    old = make(rng)
    bias, new_bias = old.get_weights()[-1], old.with_vocabulary(NEW).get_weights()[-1]
    for token, relative in LIKE.items():
        expected = bias[OLD.tokens.index(relative)] + math.log(0.01)
        assert new_bias[NEW.tokens.index(token)] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(new_bias[rows(NEW, "7あ")], bias.min())


def test_the_same_vocabulary_gives_the_same_model(rng, small_graphs):
    old = make(rng)
    again = old.with_vocabulary(Vocabulary(OLD.tokens))
    for one, other in zip(again.get_weights(), old.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.weights[0].path == old.weights[0].path


def test_options_of_dropout_may_differ_and_frozen_layers_stay_frozen(rng):
    old = make(rng)
    old.get_layer("recurrent_1").trainable = False
    new = old.with_vocabulary(NEW, dropout=0.5, weight_drop=0.25, dropout_seed=3)
    assert new.dropout_masks.rates == {"dropout": 0.5, "input_dropout": 0.0, "weight_drop": 0.25}
    assert new.dropout_masks.seed == 3 and old.dropout_masks.rates["dropout"] == 0
    assert [layer.trainable for layer in new.layers] == [layer.trainable for layer in old.layers]
    assert not new.get_layer("recurrent_1").trainable


def test_the_new_model_is_trained_and_exported(rng, tmp_path, small_graphs):
    new = make(rng).with_vocabulary(NEW)
    new.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    tokens = rng.integers(len(NEW), size=(3, 5))
    new.fit(tokens, tokens, batch_size=3, verbose=0)
    again = tfcharlm.load_model(new.export(tmp_path / "new" / "1"))
    assert again.vocabulary == NEW
    np.testing.assert_array_equal(again.get_weights()[0], new.get_weights()[0])


BAD = {
    "no vocabulary": (ValueError, ("abc",), {}, r"vocabulary must be a tfcharlm.text.Vocabulary.*received 'abc'"),
    "another level": (
        ValueError, (Vocabulary([" a"], level="word"),), {},
        r"must have the level of the model, 'char'; received level 'word'. Type Vocabulary.from_text\(text, level='c",
    ),
    "other counts": (ValueError, (NEW, [1, 2]), {}, r"token_counts must be one number for each of 9 .*received \(2,\)"),
    "an option of the layers": (TypeError, (NEW,), {"units": 3}, "must be one of dropout, .*; received units"),
    "an option out of bounds": (ValueError, (NEW,), {"dropout": 1.5}, r"dropout must be a number from 0 .* 1.5"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_one_line(rng, case):
    kind, arguments, options, message = BAD[case]
    with pytest.raises(kind, match=message) as caught:
        make(rng).with_vocabulary(*arguments, **options)
    assert "\n" not in str(caught.value)
