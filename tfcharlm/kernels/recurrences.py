"""What a cell computes between two matrix products, forward and backward. Here an RNN and an LSTM differ.

All tensors in this file are (units, B), one column per row of the batch. The rows of each gate then lie together in
memory, and splitting the gates copies nothing.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


class Recurrence(NamedTuple):
    """A cell without its weight matrix.

    The states are `(h, *memory)`. h is the output, and the weight matrix multiplies it. The memory is every other
    state; for an LSTM that is c. z is the pre-activations, (G*H, B); a state is (H, B).

    Args:
        name: of the native kernel that computes the same, one of `tfcharlm.kernels.native.CELLS`; None if there is
            none.
        residual_blocks: the number of rows of each tensor in `residuals`, in multiples of H.
        memory: the number of states besides h.
        forward: `forward(z, memory) -> (h, next_memory, residuals)`, one step. `residuals` is what `backward` needs.
        backward: `backward(d_h, d_memory, residuals, before, after) -> (d_z, d_before)`, the gradient of one step.
            `d_h` and `d_memory` belong to the states after the step; `before` and `after` are the memory before and
            after it; `d_before` belongs to the memory before it. The gradient of the previous h follows from `d_z`.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.kernels import LSTM
    >>> h, (c,), residuals = LSTM.forward(tf.zeros((8, 1)), (tf.ones((2, 1)),))
    >>> c.numpy().tolist(), [gate.shape[0] for gate in residuals]       # every gate is half open
    ([[0.5], [0.5]], [4, 2, 2])
    """

    name: str | None
    residual_blocks: tuple[int, ...]
    memory: int
    forward: Callable[..., tuple]
    backward: Callable[..., tuple]


def _rnn_forward(z, memory):
    h = tf.tanh(z)
    return h, (), (h,)


def _rnn_backward(d_h, d_memory, residuals, before, after):
    return tf.raw_ops.TanhGrad(y=residuals[0], dy=d_h), ()


def _lstm_forward(z, memory, capped):
    units = z.shape[0] // 4
    z_if, z_g, z_o = tf.split(z, [2 * units, units, units], axis=0)
    i_f, g, o = tf.sigmoid(z_if), tf.tanh(z_g), tf.sigmoid(z_o)
    i, f = tf.split(i_f, 2, axis=0)
    c = f * memory[0] + (tf.minimum(i, 1 - f) if capped else i) * g
    return o * tf.tanh(c), (c,), (i_f, g, o)


def _lstm_backward(d_h, d_memory, residuals, before, after, capped):
    i_f, g, o = residuals
    i, f = tf.split(i_f, 2, axis=0)
    tanh_c = tf.tanh(after[0])  # cheaper to recompute than to save
    d_c = d_memory[0] + tf.raw_ops.TanhGrad(y=tanh_c, dy=d_h * o)
    d_i, d_f, admitted = d_c * g, d_c * before[0], i
    if capped:
        # Where i is capped, the forget gate sets the cap, so the gradient of the cap goes to f.
        admitted = tf.minimum(i, 1 - f)
        of_cap = tf.where(i > admitted, d_i, tf.zeros_like(d_i))
        d_i, d_f = d_i - of_cap, d_f - of_cap
    d_z = [
        tf.raw_ops.SigmoidGrad(y=i, dy=d_i),
        tf.raw_ops.SigmoidGrad(y=f, dy=d_f),
        tf.raw_ops.TanhGrad(y=g, dy=d_c * admitted),
        tf.raw_ops.SigmoidGrad(y=o, dy=d_h * tanh_c),
    ]
    return tf.concat(d_z, axis=0), (d_c * f,)


def _lstm(capped):
    forward = functools.partial(_lstm_forward, capped=capped)
    backward = functools.partial(_lstm_backward, capped=capped)
    name = "capped_lstm" if capped else "lstm"
    return Recurrence(name, residual_blocks=(2, 1, 1), memory=1, forward=forward, backward=backward)


RNN = Recurrence("rnn", residual_blocks=(1,), memory=0, forward=_rnn_forward, backward=_rnn_backward)
LSTM = _lstm(capped=False)
CAPPED_LSTM = _lstm(capped=True)
