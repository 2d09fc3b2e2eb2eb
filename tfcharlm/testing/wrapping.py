"""The cell in wrappers: a sequence is its steps, padding is nothing, and `tfcharlm.RNN` is `keras.layers.RNN`."""

from functools import partial

import keras
import numpy as np
import tensorflow as tf

from tfcharlm.layers import RNN
from tfcharlm.testing.cell_under_test import TIME, call, steps
from tfcharlm.testing.comparison import TOLERANCE, agree, compare, measure, values_of
from tfcharlm.testing.report import MismatchError

# A row that ends early, one with holes that starts late, one of padding alone.
MASK = np.array([[1, 1, 1, 0, 0], [0, 1, 0, 1, 1], [0, 0, 0, 0, 0]], bool)
# Keras's wrapper computes masked steps and drops them: there a NaN would stay in every gradient as 0 * NaN.
PADDING = {"keras.layers.RNN": (keras.layers.RNN, 7.0), "tfcharlm.RNN": (RNN, np.nan)}


def sequence(subject):
    """keras.layers.RNN over a sequence gives what single calls give, in one go or in two"""
    cell, x, states = subject.copy(), subject.inputs(), subject.states()
    expected = values_of(*steps(cell, x, states))
    layer, tolerance = subject.layer(keras.layers.RNN), TOLERANCE[subject.dtype]
    hint = "the states that call returns, and what it keeps on self"
    compare(values_of(*_read(layer)(x, states)), expected, tolerance, hint, f"{TIME} steps at once: ")
    first, between = _read(layer)(x[:, :2], states)
    second, after = _read(layer)(x[:, 2:], between)
    received = values_of(tf.concat([first, second], axis=1), after)
    compare(received, expected, tolerance, hint, "two steps, and the others from the states after them: ")


def masks(subject):
    """masked steps keep states and outputs, whatever stands in the padding"""
    cell, x, states = subject.copy(), subject.inputs(), subject.states()
    weights = cell.trainable_variables
    expected = measure(partial(_masked_steps, cell), weights, x, states)
    hint = "what call keeps on self, or an operation over the batch axis: a wrapper masks the returned states only"
    for name, (wrapper, padding) in PADDING.items():
        layer = subject.layer(wrapper)
        padded = tf.where(MASK[..., None], x, tf.constant(padding, x.dtype))
        received = measure(_read(layer, mask=tf.constant(MASK)), layer.trainable_variables, padded, states)
        what = f"{name} with {padding:g} in the padding: "
        for ours, theirs, kind in zip(received, expected, ("", "gradient of "), strict=True):
            compare(ours, theirs, TOLERANCE[subject.dtype], hint, what + kind)


def _masked_steps(cell, inputs, states):
    """Every row alone, without its padding; a masked step repeats the output before it, which at first is zeros."""
    results = []
    for row in range(len(MASK)):
        own = keras.tree.map_structure(lambda state, row=row: state[row : row + 1], states)
        # One call to know the shape of an output.
        output = tf.zeros_like(call(cell, inputs[row : row + 1, 0], own)[0])
        outputs = []
        for t in range(TIME):
            if MASK[row, t]:
                output, own = call(cell, inputs[row : row + 1, t], own)
            outputs.append(output)
        results.append((tf.stack(outputs, axis=1), *keras.tree.flatten(own)))
    outputs, *after = (tf.concat(parts, axis=0) for parts in zip(*results, strict=True))
    return outputs, after


def wrappers(subject):
    """tfcharlm.RNN gives the outputs, states and gradients of keras.layers.RNN"""
    # Kernels have two ways to a gradient. What is random in training cannot be compared there.
    for dtype, training in ((subject.dtype, False), ("float32", not _is_random(subject))):
        x, states = subject.inputs(dtype=dtype), subject.states(dtype=dtype)
        results = []
        for wrapper in (RNN, keras.layers.RNN):
            layer = subject.layer(wrapper, dtype)
            results.append(measure(_read(layer, training=training), layer.trainable_variables, x, states))
        hint = f"tfcharlm.RNN(cell).fallback_reason, which is {_fallback_reason(subject)!r}: None means that fused kernels ran"
        for ours, theirs, kind in zip(*results, ("", "gradient of "), strict=True):
            compare(ours, theirs, TOLERANCE[dtype], hint, f"in {dtype}, training={training}, {kind}")


def _fallback_reason(subject):
    return RNN(subject.copy()).fallback_reason


def _is_random(subject):
    """Whether training is; two draws of dropout may be the same, so that its rates are asked first."""
    if dict(_dropout_rates(subject.cell.get_config())):
        return True
    layer, x, states = subject.layer(keras.layers.RNN), subject.inputs(), subject.states()
    first, second = (values_of(*_read(layer, training=True)(x, states)) for _ in range(2))
    return not agree(first, second, TOLERANCE[subject.dtype])


def training(subject):
    """inference is not random, training runs, and dropout is active there alone"""
    layer, x, states = subject.layer(keras.layers.RNN), subject.inputs(), subject.states()
    inference, again, trained = (values_of(*_read(layer, training=mode)(x, states)) for mode in (False, False, True))
    hint = "the argument training of call: dropout and noise are for training=True"
    compare(again, inference, TOLERANCE[subject.dtype], hint, "the second time with training=False, ")
    for name, value in trained.items():
        if not np.all(np.isfinite(value)):
            raise MismatchError(f"{name} with NaN or infinity for training=True", "finite numbers", hint)
    rates = dict(_dropout_rates(subject.cell.get_config()))
    if rates and all(np.array_equal(trained[name], inference[name]) for name in inference):
        received = ", ".join(f"{name} = {rate}" for name, rate in rates.items())
        raise MismatchError(
            f"the same results with training=True and False, in spite of {received}", "a difference", hint
        )


def _dropout_rates(config):
    """The keys of a configuration, inner cells included, that speak of dropout which is neither nothing nor all."""
    if isinstance(config, list | tuple):
        config = dict(enumerate(config))
    if not isinstance(config, dict):
        return
    for key, value in config.items():
        if "dropout" in str(key) and isinstance(value, float) and 0 < value < 1:
            yield key, value
        yield from _dropout_rates(value)


def reference_cell(subject):
    """the other cell, with the same weights, gives the same outputs, states and gradients"""
    cell, other = subject.copy(), subject.copy(of=subject.reference_cell)
    ours, theirs = (
        f"states of {one.state_size}, weights of shapes {[tuple(w.shape) for w in one.trainable_variables]}"
        for one in (cell, other)
    )
    if ours != theirs:
        hint = "reference_cell=, which must be a cell with the same sizes and the same weights in the same order"
        raise MismatchError(ours, f"{theirs}, as in {type(other).__name__}", hint)
    subject.assign(other, subject.arrays(cell))
    x, states = subject.inputs(), subject.states()
    (values, slopes), (their_values, their_slopes) = (
        measure(partial(steps, one), one.trainable_variables, x, states) for one in (cell, other)
    )
    hint = "the equations of call; the order of the gates in kernel, recurrent_kernel and bias"
    compare(values, their_values, TOLERANCE[subject.dtype], hint)
    # Weights may have other names there.
    their_slopes = dict(zip(slopes, their_slopes.values(), strict=True))
    compare(slopes, their_slopes, TOLERANCE[subject.dtype], hint, "gradient of ")


def _read(layer, **arguments):
    """The layer as a function `(inputs, states) -> (outputs, states)`."""

    def read(inputs, states):
        outputs, *after = layer(inputs, initial_state=states, **arguments)
        return outputs, after

    return read
