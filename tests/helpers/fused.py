"""Fused kernels beside the loop of Keras and NumPy."""

import keras
import numpy as np
import tensorflow as tf

import tfcharlm
from helpers.cells import BACKWARD, CELLS, FORWARD, NUM_STATES, WEIGHTS, assert_close, differentiate, random_arrays
from helpers.masks import make_mask
from tfcharlm.kernels import map_shards, shards

INPUT, UNITS = 3, 5


def make_layer(kind, wrapper=tfcharlm.RNN, dtype="float64", use_bias=True, **arguments):
    cell = CELLS[kind](UNITS, use_bias=use_bias, dtype=dtype)
    layer = wrapper(cell, return_sequences=True, return_state=True, dtype=dtype, **arguments)
    layer.build((None, None, INPUT))
    return layer


class CompiledLoops:
    """Fused kernel and loop of Keras, each traced once for batches and sequences of any size."""

    def __init__(self):
        self._table = {}

    def pairs(self, kind, masked, backwards):
        """`(layer, compiled differentiate)` for both wrappers."""
        if (kind, masked, backwards) not in self._table:
            layers = [make_layer(kind, wrapper, go_backwards=backwards) for wrapper in (tfcharlm.RNN, keras.layers.RNN)]
            self._table[kind, masked, backwards] = [(layer, self._trace(layer, kind, masked)) for layer in layers]
        return self._table[kind, masked, backwards]

    def _trace(self, layer, kind, masked):
        rows = [tf.TensorSpec((None, UNITS), tf.float64)] * NUM_STATES[kind]
        inputs, outputs = (tf.TensorSpec((None, None, size), tf.float64) for size in (INPUT, UNITS))
        signature = [inputs, rows, tf.TensorSpec((None, None), tf.bool), outputs, rows]

        @tf.function(autograph=False, input_signature=signature)
        def function(x, states, mask, d_outputs, d_states):
            return differentiate(layer, x, states, mask if masked else None, d_outputs, d_states)

        return function


def check_fused_kernel_loop_and_numpy(compiled, kind, batch, length, mask_name, backwards, seed):
    """Outputs, last states and every gradient, with NaN in all padding that the fused kernel reads."""
    rng = np.random.default_rng(seed)
    arrays = random_arrays(rng, kind, INPUT, UNITS)
    x, mask = rng.normal(size=(batch, length, INPUT)), make_mask(rng, mask_name, batch, length)
    states, d_states = (list(rng.normal(size=(NUM_STATES[kind], batch, UNITS))) for _ in range(2))
    d_outputs = rng.normal(size=(batch, length, UNITS))

    turn = slice(None, None, -1 if backwards else 1)
    seen = None if mask is None else mask[:, turn]
    outputs, last, cache = FORWARD[kind](WEIGHTS[kind](*arrays), x[:, turn], *states, mask=seen)
    d_weights, d_x, d_initial = BACKWARD[kind](WEIGHTS[kind](*arrays), cache, d_outputs, *d_states)
    as_list = list if kind == "lstm" else lambda single: [single]
    expected = [outputs, *as_list(last), d_x[:, turn], *as_list(d_initial), *d_weights]

    poisoned = x if mask is None else np.where(mask[..., None], x, np.nan)
    seen = np.ones((batch, length), bool) if mask is None else mask
    pairs = compiled.pairs(kind, mask is not None, backwards)
    for (layer, function), inputs in zip(pairs, (poisoned, x), strict=True):
        layer.set_weights(arrays)
        results = function(*keras.tree.map_structure(tf.constant, (inputs, states, seen, d_outputs, d_states)))
        assert_close(results, expected)


def check_shards_keep_rows_in_order(rng, monkeypatch, count, known):
    """Rows that are split into `count` shards; `known`: whether the graph knows how many rows there are."""
    monkeypatch.setattr(shards, "shard_count", lambda rows: count)
    a, b = rng.normal(size=(4, 3)), rng.normal(size=(4,))
    shapes = [tf.TensorSpec((4 if known else None, *array.shape[1:]), tf.float64) for array in (a, b)]

    @tf.function(autograph=False, input_signature=shapes)
    def both(a, b):
        return map_shards(lambda a, nothing, b: {"sum": a + b[0][:, None], "none": b[0]}, a, None, (b,))

    result = both(a, b)
    np.testing.assert_array_equal(result["sum"], a + b[:, None])
    np.testing.assert_array_equal(result["none"], b)
