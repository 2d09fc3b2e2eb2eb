r"""The simple recurrent network, forward and backward through time.

Forward, for t = 1 .. T, with row vectors (a batch is a matrix of rows):

    h[t] = tanh(x[t] K + h[t-1] R + b)

Backward, for t = T .. 1, where `d_v` is the derivative of the loss with respect to `v`, and `d_h[t]` is the sum of what
comes from the output of step t and what comes back from step t+1:

    d_z[t]   = d_h[t] * (1 - h[t]**2)
    d_x[t]   = d_z[t] K^T
    d_h[t-1] = d_z[t] R^T + d_outputs[t-1]
    d_K = sum_t x[t]^T d_z[t]        d_R = sum_t h[t-1]^T d_z[t]        d_b = sum_t d_z[t]

Masks have the meaning that they have in `keras.layers.RNN`. A masked step keeps the state, and its output repeats the
previous *output* of the row. Before the first real step that output is zero, not `h0`. The gradient therefore goes to
the step whose output is repeated.

References:
    Elman, 1990, "Finding structure in time" (the network).
    Werbos, 1990, "Backpropagation through time: what it does and how to do it" (the gradient).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tfcharlm.reference._checks import expect, expect_or_zeros, expect_sequence, expect_weights
from tfcharlm.reference.activations import tanh, tanh_derivative


class RNNWeights(NamedTuple):
    """The arrays of `keras.layers.SimpleRNN`; also the shape of their gradients."""

    kernel: np.ndarray  # (D, H)
    recurrent_kernel: np.ndarray  # (H, H)
    bias: np.ndarray  # (H,)


class RNNCache(NamedTuple):
    """What `rnn_forward` saves for `rnn_backward`."""

    x: np.ndarray  # (B, T, D), zeros where masked
    h: np.ndarray  # (B, T + 1, H), the state before the first step and after each
    mask: np.ndarray  # (B, T)


def rnn_step(weights: RNNWeights, x: ArrayLike, h: ArrayLike) -> np.ndarray:
    """One step: `h_next = tanh(x K + h R + b)`.

    Args:
        weights: `RNNWeights`.
        x: (B, D), the input.
        h: (B, H), the state.

    Returns:
        h_next: (B, H), the next state, which is also the output.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import RNNWeights, rnn_step
        >>> weights = RNNWeights(np.ones((3, 2)), np.eye(2), np.zeros(2))
        >>> rnn_step(weights, np.zeros((1, 3)), np.array([[0.0, 1.0]])).round(4)
        array([[0.    , 0.7616]])

    Reference:
        Elman, 1990.
    """
    weights = expect_weights(weights, num_blocks=1)
    x = expect("x", x, "B", weights.kernel.shape[0])
    h = expect("h", h, x.shape[0], weights.bias.shape[0])
    return tanh(x @ weights.kernel + h @ weights.recurrent_kernel + weights.bias)


def rnn_forward(
    weights: RNNWeights, x: ArrayLike, h0: ArrayLike | None = None, mask: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray, RNNCache]:
    """A whole sequence: `h[t] = tanh(x[t] K + h[t-1] R + b)`.

    Args:
        weights: `RNNWeights`.
        x: (B, T, D), the inputs; the values of masked steps are ignored.
        h0: (B, H), the state before the first step; zeros by default.
        mask: bool (B, T), True on real steps; every step is real by default.

    Returns:
        `(outputs, h_T, cache)`: (B, T, H), (B, H), and what `rnn_backward` needs.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import RNNWeights, rnn_forward
        >>> weights = RNNWeights(np.ones((3, 2)), np.eye(2), np.zeros(2))
        >>> outputs, h_T, _ = rnn_forward(weights, np.ones((1, 2, 3)), mask=[[True, False]])
        >>> outputs.shape, bool(np.all(outputs == h_T[:, None]))
        ((1, 2, 2), True)

    Reference:
        Elman, 1990.
    """
    weights = expect_weights(weights, num_blocks=1)
    x, mask = expect_sequence(x, mask, weights.kernel.shape[0])
    (batch, length), units = mask.shape, weights.bias.shape[0]
    h = np.empty((batch, length + 1, units))
    h[:, 0] = expect_or_zeros("h0", h0, batch, units)
    outputs, output = np.empty((batch, length, units)), np.zeros((batch, units))
    for t in range(length):
        real = mask[:, t, None]
        h[:, t + 1] = np.where(real, rnn_step(weights, x[:, t], h[:, t]), h[:, t])
        outputs[:, t] = output = np.where(real, h[:, t + 1], output)
    return outputs, h[:, -1].copy(), RNNCache(x, h, mask)


def rnn_backward(
    weights: RNNWeights, cache: RNNCache, d_outputs: ArrayLike, d_h_T: ArrayLike | None = None
) -> tuple[RNNWeights, np.ndarray, np.ndarray]:
    """Derivatives of a loss with respect to every argument of `rnn_forward`.

        d_z[t] = d_h[t] * (1 - h[t]**2),    d_h[t-1] = d_z[t] R^T + d_outputs[t-1]

    Args:
        weights: the `RNNWeights` of the forward pass.
        cache: what the forward pass saved.
        d_outputs: (B, T, H), derivatives with respect to the outputs.
        d_h_T: (B, H), derivative with respect to the final state; zeros by default.

    Returns:
        `(gradients, d_x, d_h0)`: `RNNWeights`, (B, T, D) with zeros where masked, (B, H).

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import RNNWeights, rnn_backward, rnn_forward
        >>> weights = RNNWeights(np.ones((3, 2)), np.eye(2), np.zeros(2))
        >>> outputs, h_T, cache = rnn_forward(weights, np.zeros((1, 2, 3)))
        >>> gradients, d_x, d_h0 = rnn_backward(weights, cache, np.ones((1, 2, 2)))
        >>> gradients.bias, d_h0
        (array([3., 3.]), array([[2., 2.]]))

    Reference:
        Werbos, 1990.
    """
    weights = expect_weights(weights, num_blocks=1)
    x, h, mask = cache
    (batch, length), units = mask.shape, weights.bias.shape[0]
    d_outputs = expect("d_outputs", d_outputs, batch, length, units)
    d_h = expect_or_zeros("d_h_T", d_h_T, batch, units)
    d_output, d_z = np.zeros((batch, units)), np.empty((batch, length, units))
    for t in reversed(range(length)):
        real = mask[:, t, None]
        d_output = d_output + d_outputs[:, t]
        d_z[:, t] = np.where(real, (d_h + d_output) * tanh_derivative(h[:, t + 1]), 0.0)
        d_h = np.where(real, d_z[:, t] @ weights.recurrent_kernel.T, d_h)
        d_output = np.where(real, 0.0, d_output)
    gradients = RNNWeights(
        np.einsum("btd,bth->dh", x, d_z),
        np.einsum("btk,bth->kh", h[:, :-1], d_z),
        np.einsum("bth->h", d_z),
    )
    return gradients, d_z @ weights.kernel.T, d_h
