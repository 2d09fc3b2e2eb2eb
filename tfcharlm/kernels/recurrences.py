"""What a cell does between two matrix products, forward and backward: the part in which an RNN and an LSTM differ.

All tensors here are columns, (units, B): the gates of a cell are then rows that lie together, and cutting them apart
copies nothing.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


class Recurrence(NamedTuple):
    """A cell, without its matrix. Its states are `(h, *memory)`: the output, which is multiplied, and what is not.

    `forward(z, memory) -> (h, memory, residuals)`: from the pre-activations z (G*H, B) and the memory before, a tuple of
    (H, B), to the states after and to what `backward` will need.

    `backward(d_h, d_memory, residuals, before, after) -> (d_z, d_before)`: from the gradients of the states after, and the
    memory before and after, to the gradients of z and of the memory before. The path to the h before goes through z.

    Args:
        residual_blocks: the rows of each tensor in `residuals`, as multiples of H.
        memory: the number of states besides h.
    """

    residual_blocks: tuple[int, ...]
    memory: int
    forward: Callable
    backward: Callable


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
    tanh_c = tf.tanh(after[0])  # cheaper to compute again than to keep
    d_c = d_memory[0] + tf.raw_ops.TanhGrad(y=tanh_c, dy=d_h * o)
    d_i, d_f, admitted = d_c * g, d_c * before[0], i
    if capped:
        # Where the cap holds, it is the forget gate that moves it.
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
    return Recurrence(
        residual_blocks=(2, 1, 1), memory=1, forward=forward, backward=functools.partial(_lstm_backward, capped=capped)
    )


RNN = Recurrence(residual_blocks=(1,), memory=0, forward=_rnn_forward, backward=_rnn_backward)
LSTM = _lstm(capped=False)
CAPPED_LSTM = _lstm(capped=True)
