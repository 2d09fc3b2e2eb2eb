"""One step of a recurrence, as sampling and Keras's own loop take it. `tfcharlm.reference` has the same in NumPy.

Everything after the matrix products is computed in float32 at least, for operands of any dtype.
`tfcharlm.kernels.precision` says why.
"""

from collections.abc import Sequence

import tensorflow as tf

from tfcharlm.kernels.precision import MatMul, at_least_float32
from tfcharlm.kernels.recurrences import Recurrence
from tfcharlm.kernels.weights import Weights, as_columns, separate_biases


def run_step(
    recurrence: Recurrence, weights: Weights | tuple, x: tf.Tensor, states: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """One step of a recurrence.

    Args:
        recurrence: such as `RNN` or `LSTM` of `tfcharlm.kernels`.
        weights: `Weights`, in the dtype of `x`, or `(kernel, recurrent_kernel, bias)`.
        x: input, (B, D). If the kernel is None, x is the product `x_t W`, (B, G*H).
        states: the states before the step, (B, size) each, in the order of `recurrence.state_names`.

    Returns:
        The next states, in the dtypes of the old ones.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.kernels import LSTM, run_step
    >>> weights = (tf.zeros((2, 12)), tf.zeros((3, 12)), None)
    >>> h, c = run_step(LSTM, weights, tf.zeros((1, 2)), [tf.zeros((1, 3)), tf.ones((1, 3))])
    >>> c.numpy()                                   # every gate is half open
    array([[0.5, 0.5, 0.5]], dtype=float32)
    """
    weights = Weights(*weights)
    z = _pre_activations(recurrence, weights, x, states[0])
    old = [tf.cast(state, z[0].dtype) for state in states]
    parameters = {name: at_least_float32(value) for name, value in weights.parameters.items()}
    if recurrence.elementwise:
        values = recurrence.values(z, old, parameters, axis=-1)
        new = [values[name] for name in recurrence.state_names]
    else:
        columns = [tf.transpose(state) for state in old]
        values = recurrence.values(_as_columns(z), columns, as_columns(parameters))
        new = [tf.transpose(values[name]) for name in recurrence.state_names]
    return [tf.cast(after, before.dtype) for after, before in zip(new, states, strict=True)]


def _as_columns(z):
    if len(z) == 1:
        return (tf.transpose(z[0]),)
    # Together. XLA makes a product with transposed operands of a product that is transposed alone, and that takes up to
    # thirty times as long.
    return tf.split(tf.transpose(tf.concat(z, axis=-1)), [part.shape[-1] for part in z], axis=0)


def _pre_activations(recurrence, weights, x, h):
    kernel, recurrent_kernel, bias, _ = weights
    matmul = MatMul(recurrent_kernel.dtype)
    of_input = at_least_float32(x) if kernel is None else matmul(matmul.cast(x), matmul.cast(kernel))
    of_state = matmul(matmul.cast(h), matmul.cast(recurrent_kernel))
    if recurrence.separate:
        biases = separate_biases(bias)
        return tuple(
            z if added is None else z + at_least_float32(added)
            for z, added in zip((of_input, of_state), biases, strict=True)
        )
    z = of_input + of_state
    return (z if bias is None else z + at_least_float32(bias),)
