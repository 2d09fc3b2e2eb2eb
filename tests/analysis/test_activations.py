"""Recorded gates and states against NumPy and against `CharLM.step`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.analyzed_models import TEXT, VOCABULARY, make_pair

import tfcharlm
from tfcharlm import reference
from tfcharlm.analysis import record_activations, state_gradient_norms
from tfcharlm.text import Vocabulary


def recorded_by_reference(parameters, tokens):
    *_, cache = reference.step(parameters, [tokens], reference.initial_state(parameters, 1))
    for layer in cache.layers:
        arrays = {"h": layer.h[0, 1:]}
        if isinstance(layer, reference.lstm.LSTMCache):
            arrays |= dict(zip("ifgo", np.split(layer.gates[0], 4, axis=1), strict=True)) | {"c": layer.c[0, 1:]}
        yield arrays


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
@pytest.mark.parametrize("vocabulary", [VOCABULARY, Vocabulary("hgfed cba")], ids=["newline", "no newline"])
def test_activations_are_those_of_the_reference(rng, dtype, tolerance, vocabulary):
    model, parameters = make_pair(rng, dtype, vocabulary)
    text = TEXT if "\n" in vocabulary.tokens else TEXT.replace("\n", " ")
    start = vocabulary.encode("\n", errors="ignore")
    recorded = record_activations(model, text)
    expected = recorded_by_reference(parameters, [*start, *vocabulary.encode(text)])
    assert recorded.pieces == tuple(text) and recorded.text == text
    for layer, arrays in zip(recorded.layers, expected, strict=True):
        assert set(layer) == set(arrays)
        for kind, array in arrays.items():
            np.testing.assert_allclose(layer[kind], array[len(start) :], rtol=0, atol=tolerance, err_msg=kind)


CELLS = {
    "other activations": lambda: [tfcharlm.LSTMCell(3, "relu", "hard_sigmoid"), tfcharlm.RNNCell(2, "relu")],
    "no bias": lambda: [tfcharlm.RNNCell(3, use_bias=False), tfcharlm.LSTMCell(2, use_bias=False)],
    "cells of Keras": lambda: [keras.layers.GRUCell(3), keras.layers.LSTMCell(2), tfcharlm.LSTMCell(4)],
    "stacked": lambda: [keras.layers.StackedRNNCells([tfcharlm.LSTMCell(3), tfcharlm.RNNCell(2)])],
    "capped": lambda: [tfcharlm.LSTMCell(4, cap_input_gate=True), tfcharlm.LSTMCell(3, cap_input_gate=True)],
}


def states_by_step(model, text):
    """The states after each token, from `CharLM.step`: lists of (units,)."""
    states, rows = model.initial_state(1), []
    step = tf.function(model.step, autograph=False)
    for token in model.vocabulary.encode("\n" + text):
        _, states = step(tf.constant([[token]]), states)
        rows.append([state[0].numpy() for state in states])
    return [np.stack(column) for column in zip(*rows[1:], strict=True)]


def recorded_states(recorded):
    """The states alone, in the order in which a model has them."""
    for layer in recorded.layers:
        yield from [layer[kind] for kind in ("h", "c") if kind in layer] or layer.values()


@pytest.mark.parametrize("name", CELLS)
def test_states_of_every_kind_of_cell_are_those_of_step(rng, name):
    model = tfcharlm.CharLM(VOCABULARY, CELLS[name](), embedding_dim=2, skip_connections=name == "capped")
    recorded, expected = record_activations(model, TEXT), states_by_step(model, TEXT)
    for array, states in zip(recorded_states(recorded), expected, strict=True):
        np.testing.assert_allclose(array, states, atol=1e-5)


@pytest.mark.parametrize("skip", [False, True])
def test_bfloat16_products_and_float32_states(rng, skip):
    cells = [tfcharlm.LSTMCell(units, dtype="mixed_bfloat16") for units in ((5, 3) if skip else (5,))]
    model = tfcharlm.CharLM(VOCABULARY, cells, embedding_dim=2, skip_connections=skip, dtype="mixed_bfloat16")
    recorded, expected = record_activations(model, TEXT), states_by_step(model, TEXT)
    for array, states in zip(recorded_states(recorded), expected, strict=True):
        assert array.dtype == np.float32
        # Sums in another order may round a state to the next bfloat16.
        np.testing.assert_allclose(array, states, atol=1e-2)


@pytest.mark.parametrize(
    ("level", "pieces"), [("byte", ["é", "t", "é", "\n", "€"]), ("word", ["été", "\n", "€"]), ("char", "été\n€")]
)
def test_tokens_are_the_pieces_of_the_text(rng, level, pieces):
    text = "été\n€"
    model = tfcharlm.CharLM(Vocabulary.from_text(text, level=level), [tfcharlm.RNNCell(3)], embedding_dim=2)
    recorded = record_activations(model, text)
    assert [piece for piece in recorded.pieces if piece] == list(pieces)
    assert recorded.layers[0]["h"].shape == (len(model.vocabulary.encode(text)), 3)
    # A character is read when its last byte is.
    assert [bool(piece) for piece in recorded.pieces][:2] == ([False, True] if level == "byte" else [True, True])
    np.testing.assert_allclose(recorded.layers[0]["h"], states_by_step(model, text)[0], atol=1e-6)


def test_a_part_is_cut_from_everything(rng):
    recorded = record_activations(make_pair(rng)[0], TEXT)
    part = recorded.part(3, 7)
    assert part.text == TEXT[3:7]
    assert all(np.array_equal(part.layers[0][kind], array[3:7]) for kind, array in recorded.layers[0].items())


@pytest.mark.parametrize("function", [record_activations, state_gradient_norms])
def test_texts_that_a_model_cannot_read(rng, function):
    model, _ = make_pair(rng)
    with pytest.raises(ValueError, match="at least one character; received ''"):
        function(model, "")
    with pytest.raises(ValueError, match=r"'x' \(U\+0078\) at position 1 "):
        function(model, "axe")
