"""Precision: what bfloat16 rounds, and what stays float32."""

import numpy as np
import pytest
import tensorflow as tf
from helpers.cells import CELLS
from helpers.fused import INPUT, UNITS, make_layer

import tfcharlm
from tfcharlm.kernels import precision

kinds = pytest.mark.parametrize("kind", CELLS)


@kinds
@pytest.mark.parametrize("native", [False, True])
def test_gradients_in_bfloat16_are_close(rng, monkeypatch, kind, native):
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: native)
    full, half = (make_layer(kind, dtype=dtype) for dtype in ("float32", "mixed_bfloat16"))
    half.set_weights(full.get_weights())
    x = rng.normal(size=(4, 9, INPUT))
    results = []
    for layer, dtype in ((full, tf.float32), (half, tf.bfloat16)):
        inputs = tf.constant(x, dtype)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            total = tf.reduce_sum(tf.cast(layer(inputs, training=True)[0], tf.float32) ** 2)
        results.append(tape.gradient(total, [inputs, *layer.trainable_variables]))
    for exact, rough in zip(*results, strict=True):
        difference = np.linalg.norm(tf.cast(rough, tf.float32) - exact) / np.linalg.norm(exact)
        assert 1e-5 < difference < 0.03


@pytest.mark.parametrize("native", [False, True])
def test_bfloat16_rounds_operands_and_nothing_else(rng, monkeypatch, native):
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: native)
    matmul = precision.MatMul(tf.bfloat16)
    a, b = (rng.normal(size=shape).astype(np.float32) for shape in [(5, 70), (70, 3)])
    rounded = [tf.cast(tf.cast(array, tf.bfloat16), tf.float64) for array in (a, b)]
    actual = matmul(matmul.cast(tf.constant(a)), matmul.cast(tf.constant(b)))
    assert actual.dtype == tf.float32
    assert not np.allclose(actual, a @ b, rtol=0, atol=1e-3), "not rounded"
    # A processor that has bfloat16 rounds the result as well.
    np.testing.assert_allclose(
        actual, tf.matmul(*rounded), rtol=1e-2 if native else 1e-5, atol=0.05 if native else 1e-5
    )


@pytest.mark.parametrize("native", [False, True])
def test_cell_state_is_float32_under_bfloat16(monkeypatch, native):
    """Additions of 2^-10 to a cell state of 1: bfloat16 would lose every one of them."""
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: native)
    layer = tfcharlm.RNN(tfcharlm.LSTMCell(1, dtype="mixed_bfloat16"), dtype="mixed_bfloat16")
    layer.build((None, None, 1))
    big = 40.0  # open gates: input, forget, output; the candidate is tanh(x W) with x W = 2^-10
    layer.set_weights([np.array([[0, 0, 2**-10, 0]]), np.zeros((1, 4)), np.array([big, big, 0, big])])
    states = [tf.zeros((1, 1)), tf.ones((1, 1))]
    _, (h, c) = layer.run(tf.ones((1, 512, 1)), states)
    assert c.dtype == tf.float32 and c.numpy()[0, 0] == pytest.approx(1.5, rel=1e-6)
    assert h.numpy()[0, 0] == pytest.approx(np.tanh(1.5), rel=1e-6)


@kinds
@pytest.mark.parametrize("native", [False, True])
def test_step_by_step_is_the_sequence_also_in_bfloat16(rng, monkeypatch, kind, native):
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: native)
    layer = tfcharlm.RNN(CELLS[kind](UNITS, dtype="mixed_bfloat16"), dtype="mixed_bfloat16", return_sequences=True)
    layer.build((None, None, INPUT))
    layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
    x, states = tf.constant(rng.normal(size=(2, 11, INPUT)), tf.bfloat16), layer.get_initial_state(2)
    outputs, last = layer.run(x, states)
    for t in range(11):
        output, states = layer.run(x[:, t : t + 1], states)
        # A processor that has bfloat16 rounds each product, here one of two halves and there of the whole.
        np.testing.assert_allclose(
            tf.cast(output[:, 0], tf.float32), tf.cast(outputs[:, t], tf.float32), atol=0.1 if native else 2**-7
        )
    for state, wanted in zip(states, last, strict=True):
        assert state.dtype == tf.float32
        np.testing.assert_allclose(state, wanted, rtol=0, atol=0.1 if native else 1e-5)
