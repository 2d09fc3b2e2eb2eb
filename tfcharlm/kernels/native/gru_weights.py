"""The weights of a GRU for its native kernel, which has four blocks of pre-activations.

The reset gate multiplies only what comes from the state. So the candidate has two blocks, one for each product, and
each matrix has zeros in the block of the other one.
"""

import tensorflow as tf

Weights = tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]


def in_four_blocks(kernel: tf.Tensor, recurrent_kernel: tf.Tensor, bias: tf.Tensor | None) -> Weights:
    """`(kernel (D, 4H), recurrent_kernel (H, 4H), bias (4H,) or None)` from blocks z, r, g.

    A bias (2, 3H) is added up where both of its rows meet; one of (3H,) is all of the input's.
    """
    units = recurrent_kernel.shape[0]
    W, W_g = tf.split(kernel, [2 * units, units], axis=1)
    U, U_g = tf.split(recurrent_kernel, [2 * units, units], axis=1)
    kernel = tf.concat([W, W_g, tf.zeros_like(W_g)], axis=1)
    recurrent_kernel = tf.concat([U, tf.zeros_like(U_g), U_g], axis=1)
    if bias is not None:
        bias = tf.stack([bias, tf.zeros_like(bias)]) if len(bias.shape) == 1 else bias
        gates, candidates = tf.split(bias, [2 * units, units], axis=1)
        bias = tf.concat([gates[0] + gates[1], candidates[0], candidates[1]], axis=0)
    return kernel, recurrent_kernel, bias


def in_three_blocks(kernel: tf.Tensor, recurrent_kernel: tf.Tensor, bias: tf.Tensor | None) -> Weights:
    """The reverse of `in_four_blocks`: all of the gates' bias is in the first row."""
    units = recurrent_kernel.shape[0]
    U, _, U_g = tf.split(recurrent_kernel, [2 * units, units, units], axis=1)
    if bias is not None:
        gates, of_input, of_state = tf.split(bias, [2 * units, units, units])
        bias = tf.stack([tf.concat([gates, of_input], axis=0), tf.concat([tf.zeros_like(gates), of_state], axis=0)])
    return kernel[:, : 3 * units], tf.concat([U, U_g], axis=1), bias
