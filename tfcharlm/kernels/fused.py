"""Kernels for layers: batch-major tensors in and out, weights as the cells hold them."""

import tensorflow as tf

from tfcharlm.kernels import sequence
from tfcharlm.kernels.precision import at_least_float32_dtype
from tfcharlm.kernels.shards import map_shards


def run_recurrence(
    recurrence, weights, inputs, states, mask=None, dtype=None, save_for_backward=True, needs_input_gradient=True
):
    """Runs a recurrence over a batch of sequences.

    Args:
        recurrence: `RNN` or `LSTM` of `tfcharlm.kernels`.
        weights: `(kernel (D, G*H), recurrent_kernel (H, G*H), bias (G*H,) or None)`.
        inputs: (B, T, D).
        states: the states before the first step, (B, H) each, the output first.
        mask: None, or bool (B, T); where it is False, the states stay as they are.
        dtype: of the operands of matrix products; that of the inputs by default.
        save_for_backward: whether a gradient is likely to be asked for: it can always be, but costs another forward pass otherwise.
        needs_input_gradient: False for inputs that nothing trainable has made.

    Returns:
        `(outputs (B, T, H), states)`: h after each step, and the states after the last one, float32 at least.

    Raises:
        ValueError: the inputs or the states do not fit the weights.

    Example:

    >>> from tfcharlm.kernels import recurrences
    >>> weights = (tf.zeros((3, 20)), tf.zeros((5, 20)), None)
    >>> states = (tf.zeros((2, 5)), tf.ones((2, 5)))
    >>> outputs, (h, c) = run_recurrence(recurrences.LSTM, weights, tf.ones((2, 7, 3)), states)
    >>> outputs.shape, float(c[0, 0])                       # every gate is half open, seven times
    (TensorShape([2, 7, 5]), 0.0078125)

    Reference: Werbos (1990), Backpropagation through time; the two recurrences as in `tfcharlm.kernels.lstm_step` and
    `rnn_step`.
    """
    kernel, recurrent_kernel, bias = weights
    dtype = tf.as_dtype(dtype or inputs.dtype)
    inputs = tf.ensure_shape(tf.cast(inputs, at_least_float32_dtype(dtype)), (None, None, kernel.shape[0]))
    rows = [kernel, recurrent_kernel]
    if bias is not None:
        # The bias is the weight of an input that is always 1.
        rows.insert(1, bias[None])
        inputs = tf.concat([inputs, tf.ones_like(inputs[..., :1])], axis=-1)
    matrix = tf.cast(tf.concat(rows, axis=0), at_least_float32_dtype(dtype))

    def run_shard(inputs, states, mask):
        is_real = None if mask is None else tf.transpose(mask)[:, None]
        shard = sequence.Sequence(recurrence, inputs, is_real, dtype, needs_input_gradient)
        states = tuple(
            tf.transpose(
                tf.ensure_shape(tf.cast(state, at_least_float32_dtype(dtype)), (None, recurrent_kernel.shape[0]))
            )
            for state in states
        )
        outputs, final_states = sequence.run(shard, matrix, states, save_for_backward)
        return outputs, tuple(map(tf.transpose, final_states))

    return map_shards(run_shard, inputs, tuple(states), mask)
