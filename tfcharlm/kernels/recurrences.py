"""What a cell does between two matrix products, forward and backward: the part in which an RNN and an LSTM differ.

All tensors here are columns, (units, B): the gates of a cell are then rows that lie together, and cutting them apart
copies nothing.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


class Recurrence(NamedTuple):
    """A cell, without its matrix. Its states are `(h, *memory)`: the output, which is multiplied, and what is not.

    `forward(z, memory) -> (h, memory, gates)`: from the pre-activations z (G*H, B) and the memory before, a tuple of
    (H, B), to the states after and to what `backward` will need.

    `backward(d_h, d_memory, gates, before, after) -> (d_z, d_before)`: from the gradients of the states after, and the
    memory before and after, to the gradients of z and of the memory before. The path to the h before goes through z.

    Args:
        gates: the rows of each tensor that `forward` keeps, as multiples of H.
        memory: the number of states besides h.
    """

    gates: tuple[int, ...]
    memory: int
    forward: Callable
    backward: Callable


def _rnn_forward(z, memory):
    h = tf.tanh(z)
    return h, (), (h,)


def _rnn_backward(d_h, d_memory, gates, before, after):
    return tf.raw_ops.TanhGrad(y=gates[0], dy=d_h), ()


def _lstm_forward(z, memory):
    units = z.shape[0] // 4
    z_if, z_g, z_o = tf.split(z, [2 * units, units, units], axis=0)
    i_f, g, o = tf.sigmoid(z_if), tf.tanh(z_g), tf.sigmoid(z_o)
    i, f = tf.split(i_f, 2, axis=0)
    c = f * memory[0] + i * g
    return o * tf.tanh(c), (c,), (i_f, g, o)


def _lstm_backward(d_h, d_memory, gates, before, after):
    i_f, g, o = gates
    i, f = tf.split(i_f, 2, axis=0)
    tanh_c = tf.tanh(after[0])  # cheaper to compute again than to keep
    d_c = d_memory[0] + tf.raw_ops.TanhGrad(y=tanh_c, dy=d_h * o)
    d_z = [
        tf.raw_ops.SigmoidGrad(y=i, dy=d_c * g),
        tf.raw_ops.SigmoidGrad(y=f, dy=d_c * before[0]),
        tf.raw_ops.TanhGrad(y=g, dy=d_c * i),
        tf.raw_ops.SigmoidGrad(y=o, dy=d_h * tanh_c),
    ]
    return tf.concat(d_z, axis=0), (d_c * f,)


RNN = Recurrence(gates=(1,), memory=0, forward=_rnn_forward, backward=_rnn_backward)
LSTM = Recurrence(gates=(2, 1, 1), memory=1, forward=_lstm_forward, backward=_lstm_backward)
