"""The cells of `examples/cells`, and the equations of each in NumPy, written from the papers."""

import importlib.util
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tfcharlm
from helpers.cells import assert_close
from helpers.masks import make_mask

FOLDER = Path(__file__).parents[2] / "examples" / "cells"
INPUT, UNITS, PROJECTED = 3, 5, 4


def load(name):
    """The only cell in a file of the examples."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return next(v for v in vars(module).values() if isinstance(v, type) and issubclass(v, tfcharlm.RecurrentCell))


EXAMPLES = {path.stem: load(path.stem) for path in sorted(FOLDER.glob("*.py"))}
OPTIONS = {"projected_lstm": {"output_dim": PROJECTED}}


def make_cell(name, units=UNITS, **options):
    return EXAMPLES[name](units, **OPTIONS.get(name, {}), **options)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def normalized(z):
    return (z - z.mean(-1, keepdims=True)) / np.sqrt(z.var(-1, keepdims=True) + 1e-5)


def peephole_lstm(x, h, c, W, U, b, p_i, p_f, p_o):
    z_i, z_f, z_g, z_o = np.split(x @ W + h @ U + b, 4, axis=-1)
    i, f = sigmoid(z_i + p_i * c), sigmoid(z_f + p_f * c)
    c = f * c + i * np.tanh(z_g)
    return sigmoid(z_o + p_o * c) * np.tanh(c), c


def coupled_lstm(x, h, c, W, U, b):
    z_f, z_g, z_o = np.split(x @ W + h @ U + b, 3, axis=-1)
    c = sigmoid(z_f) * c + (1 - sigmoid(z_f)) * np.tanh(z_g)
    return sigmoid(z_o) * np.tanh(c), c


def layer_norm_lstm(x, h, c, W, U, gain_x, gain_h, gain_c, b, b_c):
    z = gain_x * normalized(x @ W) + gain_h * normalized(h @ U) + b
    z_i, z_f, z_g, z_o = np.split(z, 4, axis=-1)
    c = sigmoid(z_f) * c + sigmoid(z_i) * np.tanh(z_g)
    return sigmoid(z_o) * np.tanh(gain_c * normalized(c) + b_c), c


def projected_lstm(x, h, c, W, U, b, P):
    z_i, z_f, z_g, z_o = np.split(x @ W + h @ U + b, 4, axis=-1)
    c = sigmoid(z_f) * c + sigmoid(z_i) * np.tanh(z_g)
    return (sigmoid(z_o) * np.tanh(c)) @ P, c


def minimal_gated_unit(x, h, W, U_f, b, U_g):
    x_f, x_g = np.split(x @ W + b, 2, axis=-1)
    f = sigmoid(x_f + h @ U_f)
    return ((1 - f) * h + f * np.tanh(x_g + (f * h) @ U_g),)


EQUATIONS = {
    name: globals()[name]
    for name in ("peephole_lstm", "coupled_lstm", "layer_norm_lstm", "projected_lstm", "minimal_gated_unit")
}


class KernelAndLoop:
    """A cell in `tfcharlm.RNN` and in `keras.layers.RNN`, each traced once for batches and sequences of any size."""

    def __init__(self, make, masked, backwards):
        self.layers, self._functions = [], []
        for wrapper in (tfcharlm.RNN, keras.layers.RNN):
            cell = make(dtype="float64")
            layer = wrapper(cell, return_sequences=True, return_state=True, go_backwards=backwards, dtype="float64")
            layer.build((None, None, INPUT))
            self.layers.append(layer)
            self._functions.append(self._trace(layer, masked))
        assert self.layers[0].why_not_fused is None
        self.sizes = cell.state_sizes

    def _trace(self, layer, masked):
        sizes = layer.cell.state_sizes
        states = [tf.TensorSpec((None, size), tf.float64) for size in sizes]
        inputs, outputs = (tf.TensorSpec((None, None, size), tf.float64) for size in (INPUT, sizes[0]))

        @tf.function(
            autograph=False, input_signature=[inputs, states, tf.TensorSpec((None, None), tf.bool), outputs, states]
        )
        def function(x, states, mask, d_outputs, d_states):
            with tf.GradientTape() as tape:
                tape.watch((x, states))
                outputs, *last = layer(x, initial_state=list(states), mask=mask if masked else None, training=True)
            sources = [x, *states, *(w.value for w in layer.trainable_variables)]
            return outputs, last, tape.gradient([outputs, *last], sources, [d_outputs, *d_states])

        return function

    def check(self, rng, mask_name):
        """One random case: outputs, last states and every gradient. The kernel finds NaN in all padding."""
        batch, length = rng.integers(1, 9), rng.integers(1, 27)
        for layer in self.layers[:1]:
            layer.set_weights([rng.normal(0, 0.7, size=w.shape) for w in layer.weights])
        self.layers[1].set_weights(self.layers[0].get_weights())
        x, mask = rng.normal(size=(batch, length, INPUT)), make_mask(rng, mask_name, batch, length)
        states, d_states = ([rng.normal(size=(batch, size)) for size in self.sizes] for _ in range(2))
        d_outputs = rng.normal(size=(batch, length, self.sizes[0]))
        poisoned = x if mask is None else np.where(mask[..., None], x, np.nan)
        seen = np.ones((batch, length), bool) if mask is None else mask
        results = [
            function(*keras.tree.map_structure(tf.constant, (read, states, seen, d_outputs, d_states)))
            for function, read in zip(self._functions, (poisoned, x), strict=True)
        ]
        # Where a row has no real step yet, Keras's loop repeats zeros, as the kernel does.
        assert_close(*results)
