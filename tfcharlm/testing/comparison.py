"""Comparison of arrays by name: the values and gradients of different ways to read a sequence."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcharlm.testing.report import MismatchError

# A missing gradient is None.
Arrays = Mapping[str, np.ndarray | None]
# Two orders of the same sum differ by about 1e-15 (float64) or 1e-7 (float32) per step; wrong results differ by 1e-2 or
# more.
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


def values_of(outputs: tf.Tensor, states: Any) -> dict[str, np.ndarray]:
    """Outputs and states as arrays, by name."""
    named = {"outputs": outputs}
    named.update((f"state {k}", state) for k, state in enumerate(keras.tree.flatten(states)))
    return {name: tf.convert_to_tensor(value).numpy() for name, value in named.items()}


def measure(
    read: Callable[[tf.Tensor, Any], tuple[tf.Tensor, Any]],
    weights: Sequence[keras.Variable],
    inputs: tf.Tensor,
    states: Any,
    seed: int = 0,
) -> tuple[Arrays, Arrays]:
    """`(values, gradients)` of `read(inputs, states) -> (outputs, states)`, by name; a gradient may be None.

    The gradients are those of a weighted sum of all outputs and final states. The coefficients are random, so that
    nothing cancels.
    """
    flat = keras.tree.flatten(states)
    with tf.GradientTape() as tape:
        tape.watch([inputs, *flat])
        outputs, new_states = read(inputs, states)
        total = weighted_sum(outputs, new_states, seed)
    gradients = tape.gradient(total, [*(w.value for w in weights), inputs, *flat])
    arrays = (None if g is None else tf.convert_to_tensor(g).numpy() for g in gradients)
    return values_of(outputs, new_states), dict(zip(argument_names(weights, flat), arrays, strict=True))


def weighted_sum(outputs: tf.Tensor, states: Any, seed: int) -> tf.Tensor:
    """A sum of all outputs and states with random coefficients."""
    rng = np.random.default_rng([seed, 1])
    results = [outputs, *keras.tree.flatten(states)]
    return tf.add_n([tf.reduce_sum(r * tf.constant(rng.normal(size=r.shape), r.dtype)) for r in results])


def argument_names(weights: Sequence[keras.Variable], states: Sequence[tf.Tensor]) -> list[str]:
    """Names of the weights, numbered because those of a stack repeat, of the inputs and of the initial states."""
    names = [f"weight {k} ({weight.name})" for k, weight in enumerate(weights)]
    return [*names, "inputs", *(f"initial state {k}" for k in range(len(states)))]


def compare(
    received: Arrays,
    expected: Arrays,
    tolerance: float,
    hint: str,
    what: str = "",
) -> None:
    """Raises a MismatchError if two dictionaries of arrays differ; it names the entry that differs most."""
    worst: tuple = (0.0, None, None)
    for name, theirs in expected.items():
        ours, theirs = _array(received[name], theirs), _array(theirs, received[name])
        if ours.shape != theirs.shape:
            raise MismatchError(f"{what}{name} of shape {ours.shape}", theirs.shape, hint)
        if not ours.size:
            continue
        error = np.abs(ours - theirs) / max(1.0, np.nanmax(np.abs(theirs), initial=0.0))
        error = np.where(np.isnan(error), np.inf, error)
        if error.max() > max(worst[0], tolerance):
            worst = (error.max(), name, np.unravel_index(np.argmax(error), error.shape))
    if worst[1] is not None:
        _, name, index = worst
        ours, theirs = _array(received[name], expected[name])[index], _array(expected[name], received[name])[index]
        position = f" at {tuple(map(int, index))}" if index else ""
        raise MismatchError(f"{what}{name}{position} = {ours:.9g}", f"{theirs:.9g}, within {tolerance:.0e}", hint)


def agree(received: Arrays, expected: Arrays, tolerance: float) -> bool:
    """Whether two dictionaries of arrays hold the same numbers, up to rounding."""
    try:
        compare(received, expected, tolerance, hint="")
    except MismatchError:
        return False
    return True


def _array(value, other):
    """The array in float64; zeros for a missing gradient."""
    if value is None:
        return np.zeros(np.shape(other) if other is not None else ())
    return np.asarray(value, np.float64)
