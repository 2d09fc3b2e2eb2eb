"""Capped input gates against NumPy, in every way in which a layer can be run."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.cells import assert_close, differentiate, random_arrays
from helpers.masks import make_mask
from helpers.reference_layers import excess

import tfcharlm
from tfcharlm import reference

BATCH, TIME, INPUT, UNITS = 4, 7, 3, 5
WAYS = {
    "fused kernel": (tfcharlm.RNN, True),
    "fused kernel that saves nothing": (tfcharlm.RNN, False),
    "loop of Keras": (keras.layers.RNN, True),
}
ways = pytest.mark.parametrize("way", WAYS)
modes = pytest.mark.parametrize(
    ("compiled", "mask_name"), [(False, "none"), (False, "a row of nothing"), (True, "a row of nothing")]
)


@pytest.fixture(autouse=True)
def _short_turns(short_turns_and_two_shards):
    """For smaller graphs."""


def make_layer(way, arrays, cap=True):
    wrapper, _ = WAYS[way]
    cell = tfcharlm.LSTMCell(UNITS, cap_input_gate=cap, dtype="float64")
    layer = wrapper(cell, return_sequences=True, return_state=True, dtype="float64")
    layer.build((None, None, INPUT))
    layer.set_weights(arrays)
    return layer


def lstm_arrays(rng):
    return random_arrays(rng, "lstm", INPUT, UNITS)


def tensors(structure):
    return keras.tree.map_structure(lambda array: None if array is None else tf.constant(array), structure)


def compare_with_numpy(rng, way, compiled, mask, arrays):
    """Outputs, states and all gradients of a capped layer; returns the gates' i - (1 - f) at the real steps."""
    x, d_outputs = (rng.normal(size=(BATCH, TIME, size)) for size in (INPUT, UNITS))
    states, d_states = (list(rng.normal(size=(2, BATCH, UNITS))) for _ in range(2))
    weights = reference.LSTMWeights(*arrays)
    outputs, last, cache = reference.lstm_forward(weights, x, *states, mask=mask, cap_input_gate=True)
    d_weights, d_x, d_initial = reference.lstm_backward(weights, cache, d_outputs, *d_states)

    layer = make_layer(way, arrays)
    function = tf.function(differentiate, autograph=False) if compiled else differentiate
    results = function(layer, *tensors((x, states, mask, d_outputs, d_states)), training=WAYS[way][1])
    assert_close(results, [outputs, last, [d_x, *d_initial, *d_weights]])
    return excess(cache)


@ways
@modes
def test_capped_input_gate(rng, way, compiled, mask_name):
    by = compare_with_numpy(rng, way, compiled, make_mask(rng, mask_name, BATCH, TIME), lstm_arrays(rng))
    assert 0.1 < np.mean(by > 0) < 0.9, "one side of the cap only"


@ways
def test_a_gate_that_is_as_large_as_its_cap_has_the_gradient(rng, way):
    """As in a layer whose gates begin with zeros: one of the two sides must be taken, by all the same."""
    gates = np.repeat([0.0, 0.0, 1.0, 1.0], UNITS)
    by = compare_with_numpy(rng, way, False, None, [array * gates for array in lstm_arrays(rng)])
    assert np.all(by == 0)


@pytest.mark.parametrize("cap", [True, False])
def test_a_capped_cell_state_stays_within_one(rng, cap):
    """Step by step, with gates that are open nearly always; without the cap the same states leave [-1, 1]."""
    arrays = lstm_arrays(rng)
    arrays[2] += np.repeat([2.0, 2.0, 0.0, 0.0], UNITS)
    layer, x = make_layer("fused kernel", arrays, cap), tf.constant(3 * rng.normal(size=(BATCH, 40, INPUT)))
    states, largest = layer.get_initial_state(BATCH), 0.0
    for t in range(40):
        before = [state.numpy() for state in states]
        _, states = layer.run(x[:, t : t + 1], states)
        expected = reference.lstm_step(reference.LSTMWeights(*arrays), x[:, t], *before, cap_input_gate=cap)
        assert_close(states, expected)
        largest = max(largest, np.abs(states[1]).max())
    assert 0.5 < largest <= 1 if cap else largest > 2
    assert_close(layer.run(x, layer.get_initial_state(BATCH))[1], states)


@pytest.mark.parametrize("cap", [True, False])
def test_the_cap_is_part_of_the_config(cap):
    cell = tfcharlm.LSTMCell(UNITS, cap_input_gate=cap)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(cell))
    assert again.cap_input_gate is cap and again.get_config() == cell.get_config()
    copy = tfcharlm.RNN.from_config(tfcharlm.RNN(cell).get_config())
    assert copy.cell.cap_input_gate is cap and copy.why_not_fused is None
    assert tfcharlm.LSTMCell(UNITS).get_config()["cap_input_gate"] is False
