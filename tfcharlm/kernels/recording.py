"""The gates and states of a recurrence after every step, for plots."""

import collections.abc
import dataclasses

import tensorflow as tf

from tfcharlm.kernels import fused_kernel
from tfcharlm.kernels.batch_major import in_columns
from tfcharlm.kernels.operands import Sequence
from tfcharlm.kernels.recurrences import Recurrence
from tfcharlm.kernels.weights import Weights


def record_values(
    recurrence: Recurrence,
    weights: Weights | tuple,
    inputs: tf.Tensor,
    states: collections.abc.Sequence[tf.Tensor],
    dtype: tf.DType | str = tf.float32,
) -> dict[str, tf.Tensor]:
    """Runs a recurrence over one sequence, and returns whatever its `step` names.

    Args:
        recurrence, weights: as `run_recurrence` takes them.
        inputs: (1, T, D).
        states: the states before the first step, (1, size) each.
        dtype: of the operands of matrix products; float32 by default.

    Returns:
        `{name: (T, size)}`: states after each step, and gates.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.kernels import LSTM, record_values
    >>> weights = (tf.zeros((3, 20)), tf.zeros((5, 20)))
    >>> values = record_values(LSTM, weights, tf.ones((1, 7, 3)), (tf.zeros((1, 5)), tf.ones((1, 5))))
    >>> values["f"].shape, values["c"][:3, 0].numpy().tolist()
    (TensorShape([7, 5]), [0.5, 0.25, 0.125])
    """
    weights, dtype = Weights(*weights), tf.as_dtype(dtype)
    inputs, operands_of = in_columns(recurrence, weights, inputs, dtype)
    # Without a gradient by hand, the residuals of each step are its pre-activations and the states before it. Given
    # those, the steps do not depend on each other any more: they are columns of one step.
    automatic = dataclasses.replace(recurrence, gradient=None)
    operands = operands_of(states)
    _, _, saved = fused_kernel.forward(Sequence(automatic, inputs, None, dtype), operands, True)
    residuals = [tf.transpose(array.stack()[:, :, 0]) for array in saved.residuals]
    parts = len(automatic.block_counts)
    values = automatic.values(tuple(residuals[:parts]), residuals[parts:], operands.parameters)
    return {name: tf.transpose(value) for name, value in values.items()}
