r"""The gated recurrent unit, forward and backward through time.

Forward, for t = 1 .. T, with row vectors, in Keras's layout: the 3H columns of K, R and of the biases are the blocks z,
r, g, in this order (Keras calls g "h"). With `reset_after` the bias has two rows, b and b':

    X[t] = x[t] K + b            H[t] = h[t-1] R + b'
    z = sigmoid(X_z + H_z)       r = sigmoid(X_r + H_r)
    g = tanh(X_g + r * H_g)
    h[t] = z * h[t-1] + (1 - z) * g

Without it, the reset gate comes before the product, and there is no b':

    g = tanh(X_g + (r * h[t-1]) R_g)

Backward, for t = T .. 1, where `d_v` is the derivative of the loss with respect to `v`, and d_h that of h[t]:

    d_X_z = d_h * (h[t-1] - g) * z * (1 - z)
    d_X_g = d_h * (1 - z) * (1 - g**2)
    with reset_after:       d_X_r = d_X_g * H_g * r * (1 - r)       d_H = (d_X_z, d_X_r, d_X_g * r)
                            d_h[t-1] = d_h * z + d_H R^T
    without:                d_s = d_X_g R_g^T                       d_X_r = d_s * h[t-1] * r * (1 - r)
                            d_h[t-1] = d_h * z + d_s * r + (d_X_z, d_X_r) R_zr^T
    d_x[t] = d_X K^T        d_K = sum_t x[t]^T d_X        d_R = sum_t h[t-1]^T d_H, and (r * h[t-1])^T d_X_g for R_g
    d_b = sum_t d_X         d_b' = sum_t d_H

Masks are as in `rnn`.

References:
    Cho et al., 2014, "Learning phrase representations using RNN encoder-decoder for statistical machine translation".
    Werbos, 1990, "Backpropagation through time: what it does and how to do it".
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tfcharlm.reference._checks import expect, expect_or_zeros, expect_sequence
from tfcharlm.reference.activations import sigmoid, sigmoid_derivative, tanh, tanh_derivative


class GRUWeights(NamedTuple):
    """The arrays of `keras.layers.GRU`, blocks z, r, h; also the shape of their gradients."""

    kernel: np.ndarray  # (D, 3H)
    recurrent_kernel: np.ndarray  # (H, 3H)
    bias: np.ndarray  # (2, 3H), or (3H,) without `reset_after`


class GRUCache(NamedTuple):
    """What `gru_forward` saves for `gru_backward`."""

    x: np.ndarray  # (B, T, D), zeros where masked
    h: np.ndarray  # (B, T + 1, H), the state before the first step and after each
    gates: np.ndarray  # (B, T, 3H), after their activations
    of_state: np.ndarray  # (B, T, H), H_g
    mask: np.ndarray  # (B, T)


def gru_step(weights: GRUWeights, x: ArrayLike, h: ArrayLike) -> np.ndarray:
    """One step: `h_next = z * h + (1 - z) * g`.

    Args:
        weights: `GRUWeights`. A bias of two rows means `reset_after`.
        x: (B, D), the input.
        h: (B, H), the state, which is also the previous output.

    Returns:
        `h_next`: (B, H).

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import GRUWeights, gru_step
        >>> weights = GRUWeights(np.zeros((3, 6)), np.zeros((2, 6)), np.zeros((2, 6)))
        >>> gru_step(weights, np.ones((1, 3)), np.array([[0.0, 2.0]]))
        array([[0., 1.]])

    Reference:
        Cho et al., 2014.
    """
    weights = _checked(weights)
    x = expect("x", x, "B", weights.kernel.shape[0])
    h = expect("h", h, x.shape[0], weights.recurrent_kernel.shape[0])
    return _update(_gates(weights, x, h)[0], h)


def _checked(weights):
    units, is_two = np.shape(weights.recurrent_kernel)[0], np.ndim(weights.bias) == 2
    return GRUWeights(
        expect("kernel", weights.kernel, "D", 3 * units),
        expect("recurrent_kernel", weights.recurrent_kernel, units, 3 * units),
        expect("bias", weights.bias, *([2] if is_two else []), 3 * units),
    )


def _gates(weights, x, h):
    """`(gates (B, 3H), H_g (B, H))`; H_g is zeros without `reset_after`."""
    kernel, recurrent_kernel, bias = weights
    units, resets_after = h.shape[1], bias.ndim == 2
    of_x = x @ kernel + (bias[0] if resets_after else bias)
    of_h = h @ recurrent_kernel + (bias[1] if resets_after else 0.0)
    z, r = np.split(sigmoid(of_x[:, : 2 * units] + of_h[:, : 2 * units]), 2, axis=-1)
    of_state = of_h[:, 2 * units :] if resets_after else np.zeros_like(h)
    g = tanh(of_x[:, 2 * units :] + (r * of_state if resets_after else (r * h) @ recurrent_kernel[:, 2 * units :]))
    return np.concatenate([z, r, g], axis=-1), of_state


def _update(gates, h):
    z, _, g = np.split(gates, 3, axis=-1)
    return z * h + (1 - z) * g


def gru_forward(
    weights: GRUWeights, x: ArrayLike, h0: ArrayLike | None = None, mask: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray, GRUCache]:
    """A whole sequence: `h[t] = z * h[t-1] + (1 - z) * g`.

    Args:
        weights: `GRUWeights`. A bias of two rows means `reset_after`.
        x: (B, T, D), the inputs; the values of masked steps are ignored.
        h0: (B, H), the state before the first step; zeros by default.
        mask: bool (B, T), True on real steps; every step is real by default.

    Returns:
        `(outputs, h_T, cache)`: (B, T, H), (B, H), and what `gru_backward` needs.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import GRUWeights, gru_forward
        >>> weights = GRUWeights(np.ones((3, 6)), np.ones((2, 6)), np.zeros((2, 6)))
        >>> outputs, h_T, _ = gru_forward(weights, np.ones((1, 5, 3)))
        >>> outputs.shape, bool(np.all(outputs[:, -1] == h_T))
        ((1, 5, 2), True)

    Reference:
        Cho et al., 2014.
    """
    weights = _checked(weights)
    x, mask = expect_sequence(x, mask, weights.kernel.shape[0])
    (batch, length), units = mask.shape, weights.recurrent_kernel.shape[0]
    h = np.empty((batch, length + 1, units))
    h[:, 0] = expect_or_zeros("h0", h0, batch, units)
    gates, of_state = np.empty((batch, length, 3 * units)), np.empty((batch, length, units))
    outputs, output = np.empty((batch, length, units)), np.zeros((batch, units))
    for t in range(length):
        real = mask[:, t, None]
        gates[:, t], of_state[:, t] = _gates(weights, x[:, t], h[:, t])
        h_next = _update(gates[:, t], h[:, t])
        h[:, t + 1] = np.where(real, h_next, h[:, t])
        outputs[:, t] = output = np.where(real, h_next, output)
    return outputs, h[:, -1].copy(), GRUCache(x, h, gates, of_state, mask)


def _step_backward(weights, gates, of_state, h, d_h):
    """`(d_X, d_H, d_h before the step)`; the equations are above. Without `reset_after`, d_H_g is d_X_g."""
    (z, r, g), recurrent_kernel = np.split(gates, 3, axis=-1), weights.recurrent_kernel
    gate_columns = slice(None, 2 * h.shape[1])
    d_z = d_h * (h - g) * sigmoid_derivative(z)
    d_g = d_h * (1 - z) * tanh_derivative(g)
    if weights.bias.ndim == 2:
        d_r = d_g * of_state * sigmoid_derivative(r)
        d_of_h = np.concatenate([d_z, d_r, d_g * r], axis=-1)
        d_before = d_h * z + d_of_h @ recurrent_kernel.T
    else:
        d_s = d_g @ recurrent_kernel[:, 2 * h.shape[1] :].T
        d_r = d_s * h * sigmoid_derivative(r)
        d_of_h = np.concatenate([d_z, d_r, d_g], axis=-1)
        d_before = d_h * z + d_s * r + d_of_h[:, gate_columns] @ recurrent_kernel[:, gate_columns].T
    return np.concatenate([d_z, d_r, d_g], axis=-1), d_of_h, d_before


def gru_backward(
    weights: GRUWeights, cache: GRUCache, d_outputs: ArrayLike, d_h_T: ArrayLike | None = None
) -> tuple[GRUWeights, np.ndarray, np.ndarray]:
    """Derivatives of a loss with respect to every argument of `gru_forward`, as at the head of this file.

    Args:
        weights: the `GRUWeights` of the forward pass.
        cache: what the forward pass saved.
        d_outputs: (B, T, H), derivatives with respect to the outputs.
        d_h_T: (B, H), derivative with respect to the final state; zeros by default.

    Returns:
        `(gradients, d_x, d_h0)`: `GRUWeights`, (B, T, D) with zeros where masked, and (B, H).

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import GRUWeights, gru_backward, gru_forward
        >>> weights = GRUWeights(np.zeros((3, 6)), np.zeros((2, 6)), np.zeros((2, 6)))
        >>> outputs, _, cache = gru_forward(weights, np.ones((1, 5, 3)))
        >>> gradients, d_x, d_h0 = gru_backward(weights, cache, np.ones((1, 5, 2)))
        >>> float(d_h0[0, 0]) == sum(0.5**t for t in range(1, 6))  # every step keeps half
        True

    Reference:
        Werbos, 1990.
    """
    weights = _checked(weights)
    x, h, gates, of_state, mask = cache
    (batch, length), units = mask.shape, weights.recurrent_kernel.shape[0]
    d_outputs = expect("d_outputs", d_outputs, batch, length, units)
    d_h = expect_or_zeros("d_h_T", d_h_T, batch, units)
    d_output, (d_of_x, d_of_h) = np.zeros((batch, units)), np.zeros((2, batch, length, 3 * units))
    for t in reversed(range(length)):
        real = mask[:, t, None]
        d_output = d_output + d_outputs[:, t]
        *d_z, d_before = _step_backward(weights, gates[:, t], of_state[:, t], h[:, t], d_h + d_output)
        d_of_x[:, t], d_of_h[:, t] = (np.where(real, d, 0.0) for d in d_z)
        d_h = np.where(real, d_before, d_h)
        d_output = np.where(real, 0.0, d_output)
    # What the columns of R multiply: the state, or for the candidate without `reset_after` what the reset gate left.
    left = np.concatenate([h[:, :-1]] * 3, axis=-1)
    d_bias = np.stack([d_of_x.sum((0, 1)), d_of_h.sum((0, 1))])
    if weights.bias.ndim == 1:
        left[..., 2 * units :] *= gates[..., units : 2 * units]
        d_bias = d_bias[0]
    blocks = zip(np.split(left, 3, axis=-1), np.split(d_of_h, 3, axis=-1), strict=True)
    d_recurrent = np.concatenate([np.einsum("bth,btz->hz", a, d) for a, d in blocks], axis=-1)
    gradients = GRUWeights(np.einsum("btd,btz->dz", x, d_of_x), d_recurrent, d_bias)
    return gradients, d_of_x @ weights.kernel.T, d_h
