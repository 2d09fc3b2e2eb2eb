"""Checks in wrappers: a sequence agrees with single calls, padding is ignored, `tfcharlm.RNN` with `keras.layers.RNN`.

The docstring of a check is the line that the report shows.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcharlm.layers import RNN
from tfcharlm.testing.cell_under_test import TIME, CellUnderTest, call, steps
from tfcharlm.testing.comparison import TOLERANCE, agree, compare, measure, values_of
from tfcharlm.testing.report import MismatchError

# A row that ends early, a row that starts late and has a gap, and a row of padding only.
MASK = np.array([[1, 1, 1, 0, 0], [0, 1, 0, 1, 1], [0, 0, 0, 0, 0]], bool)
# Keras's wrapper computes masked steps and discards them, so a NaN there would reach every gradient as 0 * NaN.
PADDING = {"keras.layers.RNN": (keras.layers.RNN, 7.0), "tfcharlm.RNN": (RNN, np.nan)}


def sequence(subject: CellUnderTest) -> None:
    """keras.layers.RNN over a sequence agrees with single calls, in one part or in two"""
    cell, x, states = subject.copy(), subject.inputs(), subject.states()
    expected = values_of(*steps(cell, x, states))
    layer, tolerance = subject.layer(keras.layers.RNN), TOLERANCE[subject.dtype]
    hint = "the states that call returns, and what it keeps on self"
    compare(values_of(*_read(layer)(x, states)), expected, tolerance, hint, f"{TIME} steps in one part: ")
    first, states_between = _read(layer)(x[:, :2], states)
    second, final_states = _read(layer)(x[:, 2:], states_between)
    received = values_of(tf.concat([first, second], axis=1), final_states)
    compare(received, expected, tolerance, hint, "two steps, then the others from the states after them: ")


def masks(subject: CellUnderTest) -> None:
    """masked steps keep states and outputs, whatever values the padding has"""
    cell, x, states = subject.copy(), subject.inputs(), subject.states()
    weights = cell.trainable_variables
    expected = measure(partial(_masked_steps, cell), weights, x, states)
    hint = "what call keeps on self, or an operation over the batch axis; a wrapper masks only the returned states"
    for name, (wrapper, padding) in PADDING.items():
        layer = subject.layer(wrapper)
        padded = tf.where(MASK[..., None], x, tf.constant(padding, x.dtype))
        received = measure(_read(layer, mask=tf.constant(MASK)), layer.trainable_variables, padded, states)
        what = f"{name} with {padding:g} in the padding: "
        for ours, theirs, kind in zip(received, expected, ("", "gradient of "), strict=True):
            compare(ours, theirs, TOLERANCE[subject.dtype], hint, what + kind)


def _masked_steps(cell, inputs, states):
    """Every row alone, without its padding. A masked step repeats the output before it, which is zero at the start."""
    results = []
    for row in range(len(MASK)):
        row_states = keras.tree.map_structure(lambda state, row=row: state[row : row + 1], states)
        # This call only finds out the shape of an output.
        output = tf.zeros_like(call(cell, inputs[row : row + 1, 0], row_states)[0])
        outputs = []
        for t in range(TIME):
            if MASK[row, t]:
                output, row_states = call(cell, inputs[row : row + 1, t], row_states)
            outputs.append(output)
        results.append((tf.stack(outputs, axis=1), *keras.tree.flatten(row_states)))
    outputs, *final_states = (tf.concat(parts, axis=0) for parts in zip(*results, strict=True))
    return outputs, final_states


def wrappers(subject: CellUnderTest) -> None:
    """tfcharlm.RNN gives the outputs, states and gradients of keras.layers.RNN"""
    # Fused kernels have two ways to compute a gradient: from what they saved (training=True), or by repeating the
    # forward pass. A cell that is random in training cannot be compared there.
    for dtype, training in ((subject.dtype, False), ("float32", not _is_random(subject))):
        x, states = subject.inputs(dtype=dtype), subject.states(dtype=dtype)
        results = []
        for wrapper in (RNN, keras.layers.RNN):
            layer = subject.layer(wrapper, dtype)
            results.append(measure(_read(layer, training=training), layer.trainable_variables, x, states))
        reason = RNN(subject.copy()).why_not_fused
        hint = f"tfcharlm.RNN(cell).why_not_fused, which is {reason!r}; None means that a fused kernel ran"
        for ours, theirs, kind in zip(*results, ("", "gradient of "), strict=True):
            compare(ours, theirs, TOLERANCE[dtype], hint, f"in {dtype}, training={training}, {kind}")


def _is_random(subject):
    """Whether the cell is random in training. Two draws of dropout may be equal, so its rates are checked first."""
    if dict(_dropout_rates(subject.cell.get_config())):
        return True
    layer, x, states = subject.layer(keras.layers.RNN), subject.inputs(), subject.states()
    first, second = (values_of(*_read(layer, training=True)(x, states)) for _ in range(2))
    return not agree(first, second, TOLERANCE[subject.dtype])


def training(subject: CellUnderTest) -> None:
    """inference is not random, training runs, and dropout is active in training only"""
    layer, x, states = subject.layer(keras.layers.RNN), subject.inputs(), subject.states()
    inference, again, trained = (values_of(*_read(layer, training=mode)(x, states)) for mode in (False, False, True))
    hint = "the argument training of call: dropout and noise are for training=True"
    compare(again, inference, TOLERANCE[subject.dtype], hint, "repeated with training=False, ")
    for name, value in trained.items():
        if not np.all(np.isfinite(value)):
            raise MismatchError(f"{name} with NaN or infinity for training=True", "finite numbers", hint)
    rates = dict(_dropout_rates(subject.cell.get_config()))
    if rates and all(np.array_equal(trained[name], inference[name]) for name in inference):
        received = ", ".join(f"{name} = {rate}" for name, rate in rates.items())
        raise MismatchError(
            f"the same results with training=True and training=False, in spite of {received}", "a difference", hint
        )


def _dropout_rates(config):
    """The dropout rates strictly between 0 and 1 in a configuration, including those of inner cells."""
    if isinstance(config, list | tuple):
        config = dict(enumerate(config))
    if not isinstance(config, dict):
        return
    for key, value in config.items():
        if "dropout" in str(key) and isinstance(value, float) and 0 < value < 1:
            yield key, value
        yield from _dropout_rates(value)


def reference_cell(subject: CellUnderTest) -> None:
    """the reference cell, with the same weights, gives the same outputs, states and gradients"""
    cell, other = subject.copy(), subject.copy(of=subject.reference_cell)
    ours, theirs = (
        f"states of {one.state_size}, weights of shapes {[tuple(w.shape) for w in one.trainable_variables]}"
        for one in (cell, other)
    )
    if ours != theirs:
        hint = "reference_cell, which must have the same sizes and the same weights in the same order"
        raise MismatchError(ours, f"{theirs}, as in {type(other).__name__}", hint)
    subject.assign(other, subject.arrays(cell))
    x, states = subject.inputs(), subject.states()
    (values, slopes), (their_values, their_slopes) = (
        measure(partial(steps, one), one.trainable_variables, x, states) for one in (cell, other)
    )
    hint = "the equations of call; the order of the gates in kernel, recurrent_kernel and bias"
    compare(values, their_values, TOLERANCE[subject.dtype], hint)
    # The reference cell may have other names for its weights.
    their_slopes = dict(zip(slopes, their_slopes.values(), strict=True))
    compare(slopes, their_slopes, TOLERANCE[subject.dtype], hint, "gradient of ")


def _read(layer: Any, **arguments: Any) -> Callable[[tf.Tensor, Any], tuple[tf.Tensor, Any]]:
    """The layer as a function `(inputs, states) -> (outputs, states)`."""

    def read(inputs: tf.Tensor, states: Any) -> tuple[tf.Tensor, Any]:
        outputs, *final_states = layer(inputs, initial_state=states, **arguments)
        return outputs, final_states

    return read
