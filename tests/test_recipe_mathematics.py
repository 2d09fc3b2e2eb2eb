"""Capped input gates and skip connections against NumPy, in every way in which a layer or a model can be run."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_kernels import differentiate, make_mask
from test_model import flat

import tfcharlm
from tfcharlm import reference
from tfcharlm.kernels import chains, sequence
from tfcharlm.text import Vocabulary

BATCH, TIME, INPUT, UNITS = 4, 7, 3, 5
WAYS = {
    "kernel": (tfcharlm.RNN, True),
    "kernel that keeps nothing": (tfcharlm.RNN, False),
    "plain loop": (keras.layers.RNN, True),
}
ways = pytest.mark.parametrize("way", WAYS)
modes = pytest.mark.parametrize(
    ("compiled", "mask_name"), [(False, "none"), (False, "a row of nothing"), (True, "a row of nothing")]
)

# Whole turns of the loop, for a smaller graph.
TOKENS = 6
VOCABULARY = Vocabulary("abcdefghijk")
# 11 tokens: vectors of 8 numbers are multiplied once a table, those of 3 one by one.
STACKS = {
    "two layers": (3, [("lstm", 7), ("rnn", 2)], False),
    "three capped layers": (8, [("rnn", 6), ("lstm", 7), ("lstm", 2)], True),
}
stacks = pytest.mark.parametrize("stack", STACKS)


@pytest.fixture(autouse=True)
def _short_turns(monkeypatch):
    """Three turns of a kernel's loop and a single step after them; compiled, rows in two chains."""
    monkeypatch.setattr(sequence, "STEPS_PER_TURN", 2)
    monkeypatch.setattr(chains, "shard_count", lambda rows: 1 if tf.executing_eagerly() else 2)


def make_layer(way, arrays, cap=True):
    wrapper, _ = WAYS[way]
    cell = tfcharlm.LSTMCell(UNITS, cap_input_gate=cap, dtype="float64")
    layer = wrapper(cell, return_sequences=True, return_state=True, dtype="float64")
    layer.build((None, None, INPUT))
    layer.set_weights(arrays)
    return layer


def random_arrays(rng):
    return [rng.normal(size=shape) for shape in [(INPUT, 4 * UNITS), (UNITS, 4 * UNITS), (4 * UNITS,)]]


def tensors(structure):
    return keras.tree.map_structure(lambda array: None if array is None else tf.constant(array), structure)


def assert_close(actual, expected):
    for a, e in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-12 * max(1, np.abs(e).max()))


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
    i, f, _, _ = np.split(cache.gates, 4, axis=-1)
    return (i - (1 - f))[cache.mask]


@ways
@modes
def test_capped_input_gate(rng, way, compiled, mask_name):
    excess = compare_with_numpy(rng, way, compiled, make_mask(rng, mask_name, BATCH, TIME), random_arrays(rng))
    assert 0.1 < np.mean(excess > 0) < 0.9, "one side of the cap only"


@ways
def test_a_gate_that_is_as_large_as_its_cap_has_the_gradient(rng, way):
    """As in a layer whose gates begin with zeros: one of the two sides must be taken, by all the same."""
    gates = np.repeat([0.0, 0.0, 1.0, 1.0], UNITS)
    excess = compare_with_numpy(rng, way, False, None, [array * gates for array in random_arrays(rng)])
    assert np.all(excess == 0)


@pytest.mark.parametrize("cap", [True, False])
def test_a_capped_cell_state_stays_within_one(rng, cap):
    """Step by step, with gates that are open nearly always; without the cap the same states leave [-1, 1]."""
    arrays = random_arrays(rng)
    arrays[2] += np.repeat([2.0, 2.0, 0.0, 0.0], UNITS)
    layer, x = make_layer("kernel", arrays, cap), tf.constant(3 * rng.normal(size=(BATCH, 40, INPUT)))
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
    assert copy.cell.cap_input_gate is cap and copy.fallback_reason is None
    assert tfcharlm.LSTMCell(UNITS).get_config()["cap_input_gate"] is False


def make_pair(rng, stack):
    """A model with skip connections and the reference's parameters with the same numbers; its states are not zero."""
    embedding_dim, layers, cap = STACKS[stack]
    makers = {
        "rnn": lambda units: tfcharlm.RNNCell(units, dtype="float64"),
        "lstm": lambda units: tfcharlm.LSTMCell(units, cap_input_gate=cap, dtype="float64"),
    }
    cells = [makers[kind](units) for kind, units in layers]
    model = tfcharlm.CharLM(VOCABULARY, cells, embedding_dim=embedding_dim, skip_connections=True, dtype="float64")
    parameters = reference.random_parameters(rng, len(VOCABULARY), embedding_dim, layers, 0.7, skip_connections=True)
    model.set_weights(flat(parameters))
    states = reference.initial_state(parameters, BATCH)
    return model, parameters, keras.tree.map_structure(lambda state: rng.normal(size=state.shape), states), cap


@stacks
@modes
def test_skip_connections(rng, stack, compiled, mask_name):
    """Logits, states, loss and gradient; a masked token may be any number."""
    model, parameters, states, cap = make_pair(rng, stack)
    tokens, targets = rng.integers(len(VOCABULARY), size=(2, BATCH, TOKENS))
    mask = make_mask(rng, mask_name, BATCH, TOKENS)
    arguments = {"mask": mask, "cap_input_gate": cap}
    logits, _, _ = reference.step(parameters, tokens, states, **arguments)
    loss, gradients, last = reference.loss_and_gradients(parameters, tokens, targets, states=states, **arguments)

    def run(tokens, states, mask):
        with tf.GradientTape() as tape:
            logits, last = model.step(tokens, states, mask=mask, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
            loss = tf.reduce_mean(losses if mask is None else tf.boolean_mask(losses, mask))
        variables = [weight.value for weight in model.weights]
        return logits, last, loss, [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]

    tokens = tokens if mask is None else np.where(mask, tokens, -1)
    inputs = tensors((tokens, keras.tree.flatten(states), mask))
    results = (tf.function(run, autograph=False) if compiled else run)(*inputs)
    assert_close(results, [logits, last, loss, flat(gradients)])


@stacks
def test_skip_connections_token_by_token(rng, stack):
    """As sampling reads: single steps, and those that a compiler looks through."""
    model, parameters, states, cap = make_pair(rng, stack)
    tokens = rng.integers(len(VOCABULARY), size=(BATCH, TOKENS))
    expected, last, _ = reference.step(parameters, tokens, states, cap_input_gate=cap)
    values = [variable.value for variable in model.variables]
    for step in (model.step, lambda *arguments: model.stateless_step(values, *arguments)):
        own = [tf.constant(state) for state in keras.tree.flatten(states)]
        for t in range(TOKENS):
            logits, own = step(tf.constant(tokens[:, t : t + 1], tf.int32), own)
            assert_close(logits[:, 0], expected[:, t])
        assert_close(own, last)
