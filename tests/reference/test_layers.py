"""One layer of the reference against finite differences, Keras, and its equations written out."""

import numpy as np
import pytest
import tensorflow as tf
from helpers.reference_layers import KINDS, RAGGED, B, D, H, Layer, T, agree, check_layer_gradients

from tfcharlm import reference as ref

each_kind = pytest.mark.parametrize("kind", KINDS)
each_mask = pytest.mark.parametrize("mask", [None, RAGGED], ids=["full", "ragged"])


@each_mask
@each_kind
def test_layer_gradients_against_finite_differences(kind, mask, rng):
    check_layer_gradients(kind, mask, rng)


@each_mask
@pytest.mark.parametrize("kind", [kind for kind, (*_, keras_class) in KINDS.items() if keras_class])
def test_layer_against_keras(kind, mask, rng):
    layer = Layer(kind, rng)
    theirs = layer.keras_class(H, return_sequences=True, return_state=True, dtype="float64")
    theirs.build((B, T, D))
    theirs.set_weights(list(layer.weights))
    x, *states = (tf.constant(array) for array in (layer.x, *layer.states))
    with tf.GradientTape() as tape:
        tape.watch([x, states])
        mask_tensor = None if mask is None else tf.constant(mask)
        outputs, *final = theirs(x, initial_state=states, mask=mask_tensor)
        loss = tf.reduce_sum(outputs * layer.d_outputs)
        loss += tf.reduce_sum(tf.stack(final) * np.stack(layer.d_states))
    variables = [weight.value for weight in theirs.weights]
    their_gradients = tape.gradient(loss, [*variables, x, *states])

    ours, our_final, _ = layer.forward(mask)
    agree([ours, *our_final], [outputs, *final])
    gradients, d_x, d_states = layer.backward(mask)
    agree([*gradients, d_x, *d_states], their_gradients)


@each_kind
def test_what_is_in_a_masked_step_reaches_nothing(kind, rng):
    layer = Layer(kind, rng)
    layer.x[~RAGGED] = 0.0
    clean = [*layer.forward(RAGGED)[:2], *layer.backward(RAGGED)]
    layer.x[~RAGGED] = rng.choice([np.nan, np.inf, -np.inf], (np.sum(~RAGGED), D))
    for a, b in zip([*layer.forward(RAGGED)[:2], *layer.backward(RAGGED)], clean, strict=True):
        np.testing.assert_equal(a, b)
    assert np.all(layer.backward(RAGGED)[1][~RAGGED] == 0)


@pytest.mark.parametrize("cap", [False, True])
def test_step_gate_by_gate(cap, rng):
    weights, (h, c), x = (layer := Layer("lstm", rng)).weights, layer.states, layer.x[:, 0]
    gates = ref.split_gates(weights)
    h_next, c_next = ref.lstm_step(weights, x, h, c, cap_input_gate=cap)
    for row in range(B):
        column = np.concatenate([h[row], x[row]])
        z_f, z_i, z_c, z_o = (gates[f"W_{k}"] @ column + gates[f"b_{k}"] for k in "fico")
        # sigmoid(z) < 1 - sigmoid(y) if z < -y.
        z_a = np.minimum(z_i, -z_f) if cap else z_i
        expected_c = c[row] / (1 + np.exp(-z_f)) + np.tanh(z_c) / (1 + np.exp(-z_a))
        expected_h = np.tanh(expected_c) / (1 + np.exp(-z_o))
        agree([h_next[row], c_next[row]], [expected_h, expected_c])
    np.testing.assert_equal(ref.fuse_gates(gates), weights)


def test_step_matrix_by_matrix(rng):
    weights, (h,), x = (layer := Layer("rnn", rng)).weights, layer.states, layer.x[:, 0]
    matrices = ref.split_matrices(weights)
    columns = matrices["W_hh"] @ h.T + matrices["W_xh"] @ x.T + matrices["b_h"][:, None]
    agree([ref.rnn_step(weights, x, h)], [np.tanh(columns).T])
    np.testing.assert_equal(ref.fuse_matrices(matrices), weights)
