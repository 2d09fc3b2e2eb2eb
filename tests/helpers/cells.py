"""Recurrent cells and layers beside NumPy and Keras: tables by kind, and comparisons."""

import keras
import numpy as np
import tensorflow as tf

import tfcharlm
from tfcharlm import reference
from tfcharlm.kernels import LSTM, precision, run_step

BATCH, TIME, INPUT, UNITS = 3, 5, 2, 7
MASK = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 1, 0], [0, 0, 1, 0, 0]], bool)
CELLS = {"rnn": tfcharlm.RNNCell, "lstm": tfcharlm.LSTMCell, "gru": tfcharlm.GRUCell}
KERAS_CELLS = {"rnn": keras.layers.SimpleRNNCell, "lstm": keras.layers.LSTMCell, "gru": keras.layers.GRUCell}
KERAS_LAYERS = {"rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}
WEIGHTS = {"rnn": reference.RNNWeights, "lstm": reference.LSTMWeights, "gru": reference.GRUWeights}
FORWARD = {"rnn": reference.rnn_forward, "lstm": reference.lstm_forward, "gru": reference.gru_forward}
BACKWARD = {"rnn": reference.rnn_backward, "lstm": reference.lstm_backward, "gru": reference.gru_backward}
NUM_STATES = {"rnn": 1, "lstm": 2, "gru": 1}
NUM_BLOCKS = {"rnn": 1, "lstm": 4, "gru": 3}
WRAPPERS = {"stock": keras.layers.RNN, "ours": tfcharlm.RNN}


def random_arrays(rng, kind, input_dim=INPUT, units=UNITS, dtype=np.float64):
    """Kernel, recurrent kernel and bias."""
    columns = NUM_BLOCKS[kind] * units
    shapes = [(input_dim, columns), (units, columns), (2, columns) if kind == "gru" else (columns,)]
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def with_weights(layer, arrays, input_dim=INPUT):
    layer.build((None, None, input_dim))
    layer.set_weights(arrays)
    return layer


def gradients(layer, x, upstream, **arguments):
    """Outputs, and the gradients of sum(outputs * upstream) with respect to the weights and the input."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x, **arguments)
        total = tf.reduce_sum(outputs * upstream)
    return outputs.numpy(), [g.numpy() for g in tape.gradient(total, [*layer.trainable_variables, x])]


def differentiate(layer, x, states, mask, d_outputs, d_states, training=True):
    """Outputs, last states, and gradients of x, the states and the weights for given gradients of the results."""
    with tf.GradientTape() as tape:
        tape.watch((x, states))
        outputs, *last = layer(x, initial_state=list(states), mask=mask, training=training)
    sources = [x, *states, *(w.value for w in layer.trainable_variables)]
    return outputs, last, tape.gradient([outputs, *last], sources, [d_outputs, *d_states])


def assert_close(actual, expected, tolerance=1e-12):
    """Each array within a fraction of its own numbers, or of the largest number of the array where that is above 1."""
    for a, e in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance * max(1.0, np.abs(e).max()))


def check_cell_against_numpy(rng, kind, wrapper="stock", mask=None, dtype="float64", tolerance=1e-12):
    """Outputs and all gradients of a layer."""
    arrays, x = random_arrays(rng, kind, dtype=dtype), rng.normal(size=(BATCH, TIME, INPUT)).astype(dtype)
    upstream = rng.normal(size=(BATCH, TIME, UNITS)).astype(dtype)
    layer = WRAPPERS[wrapper](CELLS[kind](UNITS, dtype=dtype), return_sequences=True, dtype=dtype)
    outputs, grads = gradients(with_weights(layer, arrays), x, upstream, mask=mask)
    weights = WEIGHTS[kind](*(a.astype(np.float64) for a in arrays))
    expected, _, cache = FORWARD[kind](weights, x.astype(np.float64), mask=mask)
    weight_gradients, d_x, _ = BACKWARD[kind](weights, cache, upstream.astype(np.float64))
    assert_close([outputs, *grads], [expected, *weight_gradients, d_x], tolerance)


def check_cell_against_keras(rng, kind, wrapper="stock", mask=None):
    """Outputs and all gradients of a layer with the weights of Keras's layer."""
    theirs = KERAS_LAYERS[kind](UNITS, return_sequences=True)
    with_weights(theirs, random_arrays(rng, kind, dtype=np.float32))
    ours = with_weights(WRAPPERS[wrapper](CELLS[kind](UNITS), return_sequences=True), theirs.get_weights())
    x = rng.normal(size=(BATCH, TIME, INPUT)).astype(np.float32)
    upstream = rng.normal(size=(BATCH, TIME, UNITS)).astype(np.float32)
    expected, expected_gradients = gradients(theirs, x, upstream, mask=mask)
    outputs, grads = gradients(ours, x, upstream, mask=mask)
    assert_close([outputs, *grads], [expected, *expected_gradients], 1e-5)


def check_what_follows_a_bfloat16_product_is_float32(rng, monkeypatch):
    """One product that bfloat16 has exactly, so that only what follows it could lose digits."""
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: True)
    z, c = rng.integers(-8, 9, size=(BATCH, 4 * UNITS)) / 4, rng.normal(size=(BATCH, UNITS))
    x = tf.constant(np.eye(BATCH), tf.bfloat16)
    weights = (tf.constant(z, tf.bfloat16), tf.zeros((UNITS, 4 * UNITS), tf.bfloat16), None)
    h, c_next = run_step(LSTM, weights, x, [tf.zeros((BATCH, UNITS)), tf.constant(c, tf.float32)])
    numpy = reference.LSTMWeights(z, np.zeros((UNITS, 4 * UNITS)), np.zeros(4 * UNITS))
    expected = reference.lstm_step(numpy, np.eye(BATCH), np.zeros((BATCH, UNITS)), c)
    assert_close([h, c_next], expected, 1e-6)
