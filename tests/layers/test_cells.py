"""The cells and the layer around them against NumPy and against Keras's own, in every mode of the wrapper."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.cells import (
    BATCH,
    CELLS,
    INPUT,
    KERAS_CELLS,
    MASK,
    NUM_STATES,
    TIME,
    UNITS,
    WRAPPERS,
    assert_close,
    check_cell_against_keras,
    check_cell_against_numpy,
    check_what_follows_a_bfloat16_product_is_float32,
    gradients,
    random_arrays,
    with_weights,
)

import tfcharlm

kinds = pytest.mark.parametrize("kind", CELLS)
wrappers = pytest.mark.parametrize("wrapper", WRAPPERS)
masks = pytest.mark.parametrize("mask", [None, MASK], ids=["full", "masked"])


@kinds
@wrappers
@masks
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_cell_agrees_with_numpy(rng, kind, wrapper, mask, dtype, tolerance):
    check_cell_against_numpy(rng, kind, wrapper, mask, dtype, tolerance)


@kinds
@wrappers
@masks
def test_same_weights_as_the_keras_layer_give_the_same_results(rng, kind, wrapper, mask):
    check_cell_against_keras(rng, kind, wrapper, mask)


MODES = {
    "last output": {},
    "sequences and states": {"return_sequences": True, "return_state": True},
    "backwards": {"go_backwards": True, "return_sequences": True},
    "unrolled": {"unroll": True, "return_sequences": True},
    "zeros for masked": {"return_sequences": True, "zero_output_for_mask": True},
    "stateful": {"stateful": True, "return_state": True},
}


def proves_the_same_twice(kind, wrapper, masked, time, mode):
    """The loop of Keras knows no kinds of cells and reads a step like a sequence; without a mask nothing is masked."""
    return (wrapper == "stock" and (time == 1 or kind == "rnn")) or (mode == "zeros for masked" and not masked)


@pytest.mark.parametrize(
    ("kind", "wrapper", "masked", "time", "mode"),
    [
        pytest.param(*case, marks=[pytest.mark.slow] * proves_the_same_twice(*case))
        for case in itertools.product(CELLS, WRAPPERS, (False, True), (TIME, 1), MODES)
    ],
)
def test_every_mode_does_what_the_keras_cell_does_in_the_stock_wrapper(rng, kind, wrapper, masked, time, mode):
    arrays = random_arrays(rng, kind, dtype=np.float32)
    x = rng.normal(size=(BATCH, time, INPUT)).astype(np.float32)
    states = [rng.normal(size=(BATCH, UNITS)).astype(np.float32) for _ in range(NUM_STATES[kind])]
    arguments = {"mask": MASK[:, 1 : time + 1] if time == 1 else MASK} if masked else {}
    if mode != "stateful":
        arguments["initial_state"] = states
    results = []
    for layer_class, cell in ((keras.layers.RNN, KERAS_CELLS[kind]), (WRAPPERS[wrapper], CELLS[kind])):
        layer = layer_class(cell(UNITS), **MODES[mode])
        layer.build((BATCH, time, INPUT))
        layer.cell.set_weights(arrays)
        first, second = layer(x, **arguments), layer(x[::-1], **arguments)
        results.append(keras.tree.flatten([first, second]))
    assert_close(results[1], results[0], 1e-5)


@wrappers
def test_bidirectional_and_stacked(rng, wrapper):
    x = rng.normal(size=(BATCH, TIME, INPUT)).astype(np.float32)
    x[~MASK] = 0

    def build(layer_class, cells):
        stack = layer_class([cells["rnn"](4), cells["lstm"](6)], return_sequences=True)
        both = keras.layers.Bidirectional(layer_class(cells["lstm"](UNITS), return_sequences=True))
        return keras.Sequential([keras.Input((TIME, INPUT)), keras.layers.Masking(), stack, both])

    theirs, ours = build(keras.layers.RNN, KERAS_CELLS), build(WRAPPERS[wrapper], CELLS)
    theirs.set_weights([rng.normal(size=w.shape) for w in theirs.get_weights()])
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    again = keras.Sequential.from_config(ours.get_config())
    again.set_weights(ours.get_weights())
    np.testing.assert_array_equal(again(x), ours(x))


@kinds
@wrappers
def test_bfloat16_policies_work_and_keep_float32_weights(rng, kind, wrapper):
    arrays = random_arrays(rng, kind, dtype=np.float32)
    x = rng.normal(size=(BATCH, TIME, INPUT)).astype(np.float32)
    exact = with_weights(tfcharlm.RNN(CELLS[kind](UNITS)), arrays)(x)
    layer = WRAPPERS[wrapper](CELLS[kind](UNITS, dtype="mixed_bfloat16"), return_state=True, dtype="mixed_bfloat16")
    rough, *states = with_weights(layer, arrays)(x)
    assert all(t.dtype == tf.bfloat16 for t in (rough, *states))
    assert all(w.dtype == "float32" for w in layer.weights)
    np.testing.assert_allclose(tf.cast(rough, tf.float32), exact, atol=0.1)


def test_what_follows_a_bfloat16_product_is_float32(rng, monkeypatch):
    check_what_follows_a_bfloat16_product_is_float32(rng, monkeypatch)


@kinds
def test_masked_nan_reaches_nothing_in_our_wrapper(rng, kind):
    arrays, x = random_arrays(rng, kind), rng.normal(size=(BATCH, TIME, INPUT))
    upstream = rng.normal(size=(BATCH, TIME, UNITS))
    layer = with_weights(
        tfcharlm.RNN(CELLS[kind](UNITS, dtype="float64"), return_sequences=True, dtype="float64"), arrays
    )
    clean = gradients(layer, x, upstream, mask=MASK)
    poisoned = gradients(layer, np.where(MASK[..., None], x, np.nan), upstream, mask=MASK)
    assert_close([poisoned[0], *poisoned[1]], [clean[0], *clean[1]], 0)
