"""Models whose weights are given when they are made, so that no initializer runs."""

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

import numpy as np
import tensorflow as tf

_given: ContextVar[list[np.ndarray | tf.TensorSpec] | None] = ContextVar("given_weights", default=None)


@contextlib.contextmanager
def given_weights(weights: Sequence[np.ndarray | tf.TensorSpec]) -> Iterator[None]:
    """In this block a new `CharLM` takes its weights from a list, in the order in which it makes them.

    Args:
        weights: the values. A `TensorSpec` makes a variable without a value, which keeps no memory: enough to trace a
            graph, and nothing else can be done with it.
    """
    token = _given.set(list(weights))
    try:
        yield
    finally:
        _given.reset(token)


@contextlib.contextmanager
def takes_given_weights() -> Iterator[None]:
    """The weights that are made in this block are those of `given_weights`, if there are any.

    Raises:
        ValueError: the block made more or fewer weights than were given.
    """
    rest = _given.get()
    if rest is None:
        yield
        return

    def create(next_creator, **arguments):
        if not rest:
            raise ValueError("fewer weights were given than this model has")
        weight = rest.pop(0)
        if not isinstance(weight, tf.TensorSpec):
            return next_creator(**arguments | {"initial_value": weight})
        variable = next_creator(**arguments | {"initial_value": lambda: tf.zeros(weight.shape, weight.dtype)})
        # The variable keeps its shape, and its memory is free again.
        nothing = tf.zeros((0,), weight.dtype)
        tf.raw_ops.AssignVariableOp(resource=variable.handle, value=nothing, validate_shape=False)
        return variable

    with tf.variable_creator_scope(create):
        yield
    if rest:
        raise ValueError(f"{len(rest)} more weights were given than this model has")
