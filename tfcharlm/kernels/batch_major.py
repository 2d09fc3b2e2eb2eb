"""Fused kernels as layers call them: batch-major tensors in and out, weights as the cells hold them.

The pure kernel is in `fused_kernel.py`, the equations of its cells in `equations.py`, the native kernel in `native`.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from tfcharlm.kernels import fused_kernel, native, operands
from tfcharlm.kernels.precision import at_least_float32_dtype
from tfcharlm.kernels.recurrences import Recurrence
from tfcharlm.kernels.shards import map_shards
from tfcharlm.kernels.weights import Weights, as_columns, separate_biases


def run_recurrence(
    recurrence: Recurrence,
    weights: Weights | tuple,
    inputs: tf.Tensor,
    states: Sequence[tf.Tensor],
    mask: tf.Tensor | None = None,
    dtype: tf.DType | str | None = None,
    save_for_backward: bool = True,
) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
    """Runs a recurrence over a batch of sequences.

    It does what `run_step` does, for every step of the sequence. B is the batch size, T the sequence length, D the
    input size, H the number of units. G is the number of column blocks: 1 for an RNN, 3 for a GRU, 4 for an LSTM.

    Args:
        recurrence: `RNN`, `LSTM`, `CAPPED_LSTM` or `GRU` of `tfcharlm.kernels`, or a `Recurrence` of your own.
        weights: `(kernel (D, G*H), recurrent_kernel (H, G*H), bias or None)`, or `Weights`, which may have parameters
            besides. The bias is (G*H,), or (2, G*H) for a GRU.
        inputs: (B, T, D), or ids, int (B, T): rows of the kernel, instead of products with it.
        states: the states before the first step, (B, size) each, h first.
        mask: None (default: every step is real), or bool (B, T); the states do not change where it is False.
        dtype: of the operands of matrix products. None (default) takes the dtype of the inputs.
        save_for_backward: whether to keep what a gradient needs. True by default. With False a gradient is still
            possible, but it repeats the forward pass.

    Returns:
        `(outputs (B, T, H), states)`: the first state after each step, and all states after the last step, float32 at
        least.

    Raises:
        ValueError: the inputs or the states do not fit the weights, or ids are not integers.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.kernels import LSTM, run_recurrence
    >>> weights = (tf.zeros((3, 20)), tf.zeros((5, 20)), None)
    >>> states = (tf.zeros((2, 5)), tf.ones((2, 5)))
    >>> outputs, (h, c) = run_recurrence(LSTM, weights, tf.ones((2, 7, 3)), states)
    >>> outputs.shape, float(c[0, 0])                       # every gate is half open, seven times
    (TensorShape([2, 7, 5]), 0.0078125)

    Reference: Werbos (1990), Backpropagation through time: what it does and how to do it.
    """
    inputs = tf.convert_to_tensor(inputs)
    is_ids = len(inputs.shape) == 2
    if is_ids and inputs.dtype not in (tf.int32, tf.int64):
        raise ValueError(
            f"Inputs of the shape (batch, length) are ids: int32 or int64. Received {inputs.dtype.name}. "
            "Vectors have the shape (batch, length, features)."
        )
    weights = Weights(*weights)
    dtype = tf.as_dtype(dtype or (weights.kernel.dtype if is_ids else inputs.dtype))
    if recurrence.native is None or native.why_not_native(dtype):
        if is_ids:
            inputs = _one_hot(inputs, weights.kernel)
        return _run_pure(recurrence, weights, inputs, states, mask, dtype, save_for_backward, not is_ids)
    return _run_native(recurrence, weights, inputs, states, mask, save_for_backward)


def _run_native(recurrence, weights, inputs, states, mask, save_for_backward):
    kernel, recurrent_kernel, bias, _ = weights
    is_ids = len(inputs.shape) == 2
    inputs = (
        _as_int32(inputs) if is_ids else tf.ensure_shape(tf.cast(inputs, tf.float32), (None, None, kernel.shape[0]))
    )
    weights = tuple(w if w is None else tf.cast(w, tf.float32) for w in (kernel, recurrent_kernel, bias))
    states = tuple(tf.ensure_shape(tf.cast(state, tf.float32), (None, recurrent_kernel.shape[0])) for state in states)

    def run_shard(inputs, states, mask):
        def pure(weights, inputs, states):
            if is_ids:
                inputs = _one_hot(inputs, kernel)
            return _run_pure(recurrence, Weights(*weights), inputs, states, mask, tf.float32, True, not is_ids)

        return native.run(recurrence.native, weights, inputs, states, mask, save_for_backward, pure)

    return map_shards(run_shard, inputs, states, mask)


def _one_hot(ids, kernel):
    """Vectors that pick rows of the kernel. tf.one_hot would turn ids that are out of range into zeros, silently."""
    return tf.gather(tf.eye(kernel.shape[0], dtype=kernel.dtype), ids)


def _as_int32(ids):
    """The ids; one that is too large for int32 stays too large for every table."""
    if ids.dtype == tf.int64:
        ids = tf.clip_by_value(ids, -1, tf.int32.max)
    return tf.cast(ids, tf.int32)


def _run_pure(recurrence, weights, inputs, states, mask, dtype, save_for_backward, needs_input_gradient):
    """The pure kernel, whose tensors have a column for each row of the batch."""
    inputs, operands_of = in_columns(recurrence, weights, inputs, dtype)

    def run_shard(inputs, states, mask):
        is_real = None if mask is None else tf.transpose(mask)[:, None]
        shard = operands.Sequence(recurrence, inputs, is_real, dtype, needs_input_gradient)
        outputs, final_states = fused_kernel.run(shard, operands_of(states), save_for_backward)
        return outputs, tuple(map(tf.transpose, final_states))

    return map_shards(run_shard, inputs, tuple(states), mask)


def in_columns(
    recurrence: Recurrence, weights: Weights, inputs: tf.Tensor, dtype: tf.DType
) -> tuple[tf.Tensor, Callable[[Sequence[tf.Tensor]], operands.Operands]]:
    """What the pure kernel takes: inputs with the 1 that the bias multiplies, and `operands_of(states)`, a function."""
    wide = at_least_float32_dtype(dtype)
    kernel, recurrent_kernel, bias, _ = weights
    inputs = tf.ensure_shape(tf.cast(inputs, wide), (None, None, kernel.shape[0]))
    # A bias is the weight of an input that is always 1, or of such a state.
    of_input, of_state = (
        [matrix] if row is None else [matrix, row[None]]
        for matrix, row in zip((kernel, recurrent_kernel), separate_biases(bias), strict=True)
    )
    if bias is not None:
        inputs = tf.concat([inputs, tf.ones_like(inputs[..., :1])], axis=-1)
    rows = (of_input, of_state) if recurrence.separate else (of_input + of_state,)
    matrices = tuple(tf.cast(tf.concat(matrix, axis=0), wide) for matrix in rows)
    parameters = {name: tf.cast(value, wide) for name, value in as_columns(weights.parameters).items()}
    units = kernel.shape[1] // recurrence.num_blocks

    def column(state, size):
        return tf.transpose(tf.ensure_shape(tf.cast(state, wide), (None, size)))

    def operands_of(states):
        # The output is as wide as the recurrent kernel. Other states are, too, unless they say otherwise.
        sizes = [recurrent_kernel.shape[0]]
        sizes += [units if recurrence.gradient else state.shape[1] for state in states[1:]]
        return operands.Operands(matrices, tuple(map(column, states, sizes)), parameters)

    return inputs, operands_of
