"""Numbers against numbers: values and gradients of a way to read a sequence, by name."""

import keras
import numpy as np
import tensorflow as tf

from tfcharlm.testing.report import MismatchError

# Two ways to add the same numbers differ by about 1e-15 and 1e-7 a step; wrong ones differ by 1e-2 or more.
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


def values_of(outputs, states):
    """Outputs and states as arrays, by name."""
    named = {"outputs": outputs}
    named.update((f"state {k}", state) for k, state in enumerate(keras.tree.flatten(states)))
    return {name: tf.convert_to_tensor(value).numpy() for name, value in named.items()}


def measure(read, weights, inputs, states, seed=0):
    """`(values, gradients)` of `read(inputs, states) -> (outputs, states)`, by name; a gradient may be None.

    The gradients are those of a sum of all outputs and last states with random coefficients, so that nothing cancels.
    """
    flat = keras.tree.flatten(states)
    with tf.GradientTape() as tape:
        tape.watch([inputs, *flat])
        outputs, after = read(inputs, states)
        total = weighted_sum(outputs, after, seed)
    gradients = tape.gradient(total, [*(w.value for w in weights), inputs, *flat])
    arrays = (None if g is None else tf.convert_to_tensor(g).numpy() for g in gradients)
    return values_of(outputs, after), dict(zip(argument_names(weights, flat), arrays, strict=True))


def weighted_sum(outputs, states, seed):
    rng = np.random.default_rng([seed, 1])
    results = [outputs, *keras.tree.flatten(states)]
    return tf.add_n([tf.reduce_sum(r * tf.constant(rng.normal(size=r.shape), r.dtype)) for r in results])


def argument_names(weights, states):
    """Names of weights, numbered because those of a stack repeat, of the inputs and of the initial states."""
    names = [f"weight {k} ({weight.name})" for k, weight in enumerate(weights)]
    return [*names, "inputs", *(f"initial state {k}" for k in range(len(states)))]


def compare(received, expected, tolerance, hint, what=""):
    """Raises a MismatchError with the entry in which two dictionaries of arrays differ most, if by too much."""
    worst = (0.0, None, None)
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
        place = f" at {tuple(map(int, index))}" if index else ""
        raise MismatchError(f"{what}{name}{place} = {ours:.9g}", f"{theirs:.9g}, within {tolerance:.0e}", hint)


def agree(received, expected, tolerance):
    """Whether two dictionaries of arrays hold the same numbers, up to rounding."""
    try:
        compare(received, expected, tolerance, hint="")
    except MismatchError:
        return False
    return True


def _array(value, other):
    """A missing gradient means zeros."""
    if value is None:
        return np.zeros(np.shape(other) if other is not None else ())
    return np.asarray(value, np.float64)
