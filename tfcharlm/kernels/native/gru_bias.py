"""The bias of a GRU for its native kernel.

The reset gate multiplies only what comes from the state. So the candidate has two biases, one for each part. The gates
have one, where both parts meet.
"""

import tensorflow as tf


def in_four_blocks(bias: tf.Tensor) -> tf.Tensor:
    """(2, 3H) -> (4H,): z, r, the candidate's of the input, and its of the state.

    A bias (3H,) is all of the input's.
    """
    bias = tf.stack([bias, tf.zeros_like(bias)]) if len(bias.shape) == 1 else bias
    units = bias.shape[1] // 3
    gates, candidates = tf.split(bias, [2 * units, units], axis=1)
    return tf.concat([gates[0] + gates[1], candidates[0], candidates[1]], axis=0)


def in_two_rows(bias: tf.Tensor) -> tf.Tensor:
    """(4H,) -> (2, 3H): the reverse of `in_four_blocks`, with all of the gates' bias in the first row."""
    units = bias.shape[0] // 4
    gates, of_input, of_state = tf.split(bias, [2 * units, units, units])
    return tf.stack([tf.concat([gates, of_input], axis=0), tf.concat([tf.zeros_like(gates), of_state], axis=0)])
