"""Checks of gradients against finite differences, and of weights and graphs against values that were kept too long.

The docstring of a check is the line that the report shows.
"""

from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcharlm.testing.cell_under_test import MANY, CellUnderTest, call, steps
from tfcharlm.testing.comparison import TOLERANCE, agree, argument_names, compare, measure, values_of, weighted_sum
from tfcharlm.testing.report import MismatchError

# The error of a central difference is about epsilon**2 plus, for values near 10, 1e-15 / epsilon: 1e-9 together. A
# larger epsilon would cross the kink of a ReLU more often. A wrong term in a gradient makes a difference of 1e-2 or
# more.
EPSILON, GRADIENT_TOLERANCE = 1e-6, 1e-6


def gradients(subject: CellUnderTest) -> None:
    """every weight has a gradient, and all gradients agree with finite differences"""
    cell, x, states = subject.copy("float64"), subject.inputs(MANY, time=3), subject.states(MANY)
    flat = keras.tree.flatten(states)
    names = argument_names(cell.trainable_variables, flat)
    point = [
        *(tf.convert_to_tensor(w).numpy() for w in cell.trainable_variables),
        x.numpy(),
        *(s.numpy() for s in flat),
    ]
    _, computed = measure(partial(steps, cell), cell.trainable_variables, x, states)
    wrong = {}
    for k, name in enumerate(names):
        direction = subject.rng.normal(size=point[k].shape)
        direction /= np.linalg.norm(direction)

        def total(step, k=k, direction=direction):
            moved = [a + step * direction if j == k else a for j, a in enumerate(point)]
            return _total(subject, cell, states, moved)

        measured = (total(EPSILON) - total(-EPSILON)) / (2 * EPSILON)
        gradient = computed[name]
        slope = 0.0 if gradient is None else float(np.sum(gradient * direction))
        _check_not_cut(name, gradient, measured)
        if not abs(slope - measured) <= GRADIENT_TOLERANCE * max(1.0, abs(measured)):
            wrong[name] = (slope, measured)
    if wrong:
        raise MismatchError(
            "slopes along a random direction of "
            + ", ".join(f"{name}: {slope:.9g}" for name, (slope, _) in wrong.items()),
            "finite differences of " + ", ".join(f"{name}: {measured:.9g}" for name, (_, measured) in wrong.items()),
            "tf.custom_gradient, tf.stop_gradient, or a step function such as round or sign, after these",
        )


def _total(subject, cell, states, arguments):
    count = len(cell.trainable_variables)
    subject.assign(cell, arguments[:count])
    moved_states = keras.tree.pack_sequence_as(states, [tf.constant(a) for a in arguments[count + 1 :]])
    return float(weighted_sum(*steps(cell, tf.constant(arguments[count]), moved_states), seed=0))


def _check_not_cut(name, gradient, measured):
    """A weight without a gradient is unused, or it cannot learn."""
    if not name.startswith("weight") or (gradient is not None and np.any(gradient)):
        return
    if abs(measured) < GRADIENT_TOLERANCE:
        raise MismatchError(
            f"no gradient for {name}, and no result that depends on it",
            "every trainable weight to be used",
            "call, which does not use it; delete it, or give add_weight trainable=False",
        )
    raise MismatchError(
        f"no gradient for {name}, although results depend on it: the finite difference is {measured:.9g}",
        "a gradient",
        "tf.stop_gradient, NumPy, or a cast to integers, between the weight and the output",
    )


def weights_read(subject: CellUnderTest) -> None:
    """weights are read at every call, eager or compiled"""
    cell, x, states = subject.copy(), subject.inputs(MANY, time=2), subject.states(MANY)
    hint = "a weight that build or an earlier call has turned into a constant or kept on self"
    before = values_of(*steps(cell, x, states))
    arrays = subject.arrays(cell)
    for k, weight in enumerate(cell.trainable_variables):
        # Not by one number: normalized activations do not change if all columns of a kernel do by the same.
        changed = [a + 0.1 * subject.rng.standard_normal(a.shape) if j == k else a for j, a in enumerate(arrays)]
        subject.assign(cell, changed)
        after = values_of(*steps(cell, x, states))
        if agree(after, before, TOLERANCE[subject.dtype]):
            raise MismatchError(f"the same results after weight {k} ({weight.name}) was changed", "a difference", hint)
    new = subject.noisy(cell, subject.rng)
    expected = subject.copy()
    subject.assign(expected, new)
    expected = values_of(*steps(expected, x, states))
    subject.assign(cell, new)
    compare(values_of(*steps(cell, x, states)), expected, TOLERANCE[subject.dtype], hint, "after set_weights, ")
    traced = subject.copy()
    # A concrete function, because TensorFlow warns about a tf.function that is made again for every cell.
    compiled = tf.function(partial(steps, traced), autograph=False).get_concrete_function(x, states)
    subject.assign(traced, new)
    what = "after set_weights, in a compiled function, "
    compare(values_of(*compiled(x, states)), expected, TOLERANCE[subject.dtype], hint, what)


def graph(subject: CellUnderTest) -> None:
    """a tf.function for any number of rows computes the same as eager calls"""
    cell, traced, states = subject.copy(), subject.copy(), subject.states()
    specs = keras.tree.map_structure(lambda state: tf.TensorSpec((None, *state.shape[1:]), state.dtype), states)
    signature = [tf.TensorSpec((None, subject.input_dim), subject.dtype), specs]

    def both(x: tf.Tensor, states: Any) -> tuple:
        fresh = call(traced, x, traced.get_initial_state(batch_size=tf.shape(x)[0])) if has_initial_state else None
        return call(traced, x, states), fresh

    has_initial_state = hasattr(cell, "get_initial_state")
    compiled = tf.function(both, autograph=False).get_concrete_function(*signature)
    hint = (
        "Python that runs only once, during tracing: if, numpy(), x.shape[0]; take the batch size from ops.shape(x)[0]"
    )
    for batch in (2, 3):
        x, states = subject.inputs(batch, None), subject.states(batch)
        received, fresh = compiled(x, states)
        compare(values_of(*received), values_of(*call(cell, x, states)), TOLERANCE[subject.dtype], hint)
        if has_initial_state:
            expected = values_of(*call(cell, x, cell.get_initial_state(batch_size=batch)))
            compare(values_of(*fresh), expected, TOLERANCE[subject.dtype], hint, "from the initial state, ")
