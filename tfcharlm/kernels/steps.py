"""One step of a recurrence. `tfcharlm.reference` has the same two functions in NumPy.

Everything after the matrix products is computed in float32 at least, for operands of any dtype.
`tfcharlm.kernels.precision` says why.
"""

from collections.abc import Callable

import tensorflow as tf

from tfcharlm.kernels.precision import MatMul, at_least_float32

# `(kernel or None, recurrent_kernel, bias or None)`.
Weights = tuple[tf.Tensor | None, tf.Tensor, tf.Tensor | None]


def rnn_step(
    weights: Weights, x: tf.Tensor, h: tf.Tensor, activation: Callable[[tf.Tensor], tf.Tensor] = tf.tanh
) -> tf.Tensor:
    r"""One step of a simple recurrent network (Elman's).

    $$ h_t = \phi(x_t W + h_{t-1} U + b) $$

    Args:
        weights: `(kernel W (D, H) or None, recurrent_kernel U (H, H), bias b (H,) or None)`, in the dtype of `x`.
        x: input, (B, D). If the kernel is None, x is the product `x_t W`, (B, H).
        h: previous state, (B, H).
        activation: `phi`. tanh by default: it is zero-centered and bounded, so the state cannot drift or explode.

    Returns:
        The next state, (B, H), in the dtype of `h`.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.kernels import rnn_step
    >>> weights = (tf.ones((2, 3)), tf.zeros((3, 3)), None)
    >>> rnn_step(weights, tf.zeros((1, 2)), tf.zeros((1, 3))).numpy()
    array([[0., 0., 0.]], dtype=float32)

    Reference: Elman (1990), Finding structure in time.
    """
    return tf.cast(activation(_pre_activation(weights, x, h)), h.dtype)


def lstm_step(
    weights: Weights,
    x: tf.Tensor,
    h: tf.Tensor,
    c: tf.Tensor,
    activation: Callable[[tf.Tensor], tf.Tensor] = tf.tanh,
    recurrent_activation: Callable[[tf.Tensor], tf.Tensor] = tf.sigmoid,
    cap_input_gate: bool = False,
) -> tuple[tf.Tensor, tf.Tensor]:
    r"""One step of a long short-term memory (LSTM) with a forget gate.

    $$ (z_i, z_f, z_g, z_o) = x_t W + h_{t-1} U + b $$
    $$ i = \sigma(z_i), \quad f = \sigma(z_f), \quad g = \phi(z_g), \quad o = \sigma(z_o) $$
    $$ c_t = f \odot c_{t-1} + i \odot g, \qquad h_t = o \odot \phi(c_t) $$

    Args:
        weights: `(kernel W (D, 4H) or None, recurrent_kernel U (H, 4H), bias b (4H,) or None)`, the arrays of
            `keras.layers.LSTM`. The gate blocks are in the order i, f, g, o; Keras calls g "c".
        x: input, (B, D). If the kernel is None, x is the product `x_t W`, (B, 4H).
        h: previous output, (B, H).
        c: previous cell state, (B, H).
        activation: `phi`, of the candidate and of the cell state. tanh by default, as published.
        recurrent_activation: `sigma`, of the three gates. The logistic function by default, as published.
        cap_input_gate: whether i is at most 1 - f, so that c stays within the bounds of `phi`. False by default, as in
            Keras.

    Returns:
        `(h, c)` after the step, each (B, H), in the dtypes of the arguments `h` and `c`.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.kernels import lstm_step
    >>> weights = (tf.zeros((2, 12)), tf.zeros((3, 12)), None)
    >>> h, c = lstm_step(weights, tf.zeros((1, 2)), tf.zeros((1, 3)), tf.ones((1, 3)))
    >>> c.numpy()                                   # every gate is half open
    array([[0.5, 0.5, 0.5]], dtype=float32)

    Reference: Hochreiter & Schmidhuber (1997); Gers, Schmidhuber & Cummins (2000) for the forget gate; Melis, Dyer &
    Blunsom (2018), On the state of the art of evaluation in neural language models, for the cap.
    """
    z_i, z_f, z_g, z_o = tf.split(_pre_activation(weights, x, h), 4, axis=-1)
    i, f, o = recurrent_activation(z_i), recurrent_activation(z_f), recurrent_activation(z_o)
    i = tf.minimum(i, 1 - f) if cap_input_gate else i
    c_next = f * tf.cast(c, z_i.dtype) + i * activation(z_g)
    h_next = o * activation(c_next)
    return tf.cast(h_next, h.dtype), tf.cast(c_next, c.dtype)


def _pre_activation(weights: Weights, x: tf.Tensor, h: tf.Tensor) -> tf.Tensor:
    kernel, recurrent_kernel, bias = weights
    matmul = MatMul(recurrent_kernel.dtype)
    z = at_least_float32(x) if kernel is None else matmul(matmul.cast(x), matmul.cast(kernel))
    z += matmul(matmul.cast(h), matmul.cast(recurrent_kernel))
    return z if bias is None else z + at_least_float32(bias)
