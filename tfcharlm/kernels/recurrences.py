"""What a cell does between two matrix products, forward and backward: the part in which an RNN and an LSTM differ.

All tensors here are columns, (units, B): the gates of a cell are then rows that lie together, and cutting them apart
copies nothing.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


class Recurrence(NamedTuple):
    """A cell, without its matrix.

    `forward(z, states) -> (states, gates)`: from the pre-activations z (G*H, B) and the states before, a tuple of
    (H, B), the one that is the output first, to the states after and to what `backward` will need.

    `backward(d_states, gates, before, after) -> (d_z, d_before)`: from the gradients of the states after to those of z
    and of the states before, without the path through z (and so None for one that has no other).

    `blocks` is G; `gates` has the rows of what `forward` keeps, as multiples of H.
    """

    blocks: int
    gates: tuple[int, ...]
    states: int
    forward: Callable
    backward: Callable


def _rnn_forward(z, states):
    return (tf.tanh(z),), ()


def _rnn_backward(d_states, gates, before, after):
    return tf.raw_ops.TanhGrad(y=after[0], dy=d_states[0]), (None,)


def _lstm_forward(z, states):
    units = z.shape[0] // 4
    z_if, z_g, z_o = tf.split(z, [2 * units, units, units], axis=0)
    i_f, g, o = tf.sigmoid(z_if), tf.tanh(z_g), tf.sigmoid(z_o)
    i, f = tf.split(i_f, 2, axis=0)
    c = f * states[1] + i * g
    return (o * tf.tanh(c), c), (i_f, g, o)


def _lstm_backward(d_states, gates, before, after):
    d_h, d_c = d_states
    i_f, g, o = gates
    i, f = tf.split(i_f, 2, axis=0)
    tanh_c = tf.tanh(after[1])  # cheaper to compute again than to keep
    d_c = d_c + tf.raw_ops.TanhGrad(y=tanh_c, dy=d_h * o)
    d_z = [
        tf.raw_ops.SigmoidGrad(y=i, dy=d_c * g),
        tf.raw_ops.SigmoidGrad(y=f, dy=d_c * before[1]),
        tf.raw_ops.TanhGrad(y=g, dy=d_c * i),
        tf.raw_ops.SigmoidGrad(y=o, dy=d_h * tanh_c),
    ]
    return tf.concat(d_z, axis=0), (None, d_c * f)


RNN = Recurrence(blocks=1, gates=(), states=1, forward=_rnn_forward, backward=_rnn_backward)
LSTM = Recurrence(blocks=4, gates=(2, 1, 1), states=2, forward=_lstm_forward, backward=_lstm_backward)
