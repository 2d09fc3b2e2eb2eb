r"""The long short-term memory, forward and backward through time.

Forward, for t = 1 .. T, with row vectors (a batch is a matrix of rows), in Keras's fused layout:
the 4H columns of K, R and b are the blocks i, f, g, o, in this order (Keras calls g "c").

    z[t] = x[t] K + h[t-1] R + b
    i = sigmoid(z_i)    f = sigmoid(z_f)    g = tanh(z_g)    o = sigmoid(z_o)
    c[t] = f[t] * c[t-1] + i[t] * g[t]
    h[t] = o[t] * tanh(c[t])

Backward, for t = T .. 1, where `d_v` is the derivative of the loss with respect to `v`:

    d_h[t]   = d_outputs[t] + d_z[t+1] R^T
    d_c[t]   = d_c[t+1] * f[t+1] + d_h[t] * o[t] * (1 - tanh(c[t])**2)
    d_z_i[t] = d_c[t] * g[t]       * i[t] * (1 - i[t])
    d_z_f[t] = d_c[t] * c[t-1]     * f[t] * (1 - f[t])
    d_z_g[t] = d_c[t] * i[t]       * (1 - g[t]**2)
    d_z_o[t] = d_h[t] * tanh(c[t]) * o[t] * (1 - o[t])
    d_x[t]   = d_z[t] K^T
    d_K = sum_t x[t]^T d_z[t]        d_R = sum_t h[t-1]^T d_z[t]        d_b = sum_t d_z[t]

The output gate multiplies tanh(c), not c: its derivative holds tanh(c) too. Masks are as in `rnn`.

With `cap_input_gate`, a gate `a` replaces i. The fraction of c that is kept and the fraction of g that is added are
then at most 1 together, and c stays within [-1, 1] if it starts there:

    a[t] = min(i[t], 1 - f[t])
    c[t] = f[t] * c[t-1] + a[t] * g[t]

Where i is capped, the gradient of the cap goes to the forget gate. A bracket is 1 where it is true, else 0:

    d_a[t]   = d_c[t] * g[t]
    d_z_i[t] = d_a[t] * [i[t] <= 1 - f[t]] * i[t] * (1 - i[t])
    d_z_f[t] = (d_c[t] * c[t-1] - d_a[t] * [i[t] > 1 - f[t]]) * f[t] * (1 - f[t])
    d_z_g[t] = d_c[t] * a[t] * (1 - g[t]**2)

References:
    Hochreiter & Schmidhuber, 1997, "Long short-term memory" (the cell).
    Gers, Schmidhuber & Cummins, 2000, "Learning to forget" (the forget gate f).
    Werbos, 1990, "Backpropagation through time: what it does and how to do it" (the gradient; the
    original LSTM paper truncates it, this is the full one).
    Melis, Dyer & Blunsom, 2018, "On the state of the art of evaluation in neural language models"
    (the cap).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tfcharlm.reference._checks import expect, expect_or_zeros, expect_sequence, expect_weights
from tfcharlm.reference.activations import sigmoid, sigmoid_derivative, tanh, tanh_derivative


class LSTMWeights(NamedTuple):
    """The arrays of `keras.layers.LSTM`, gates i, f, c, o; also the shape of their gradients."""

    kernel: np.ndarray  # (D, 4H)
    recurrent_kernel: np.ndarray  # (H, 4H)
    bias: np.ndarray  # (4H,)


class LSTMCache(NamedTuple):
    """What `lstm_forward` saves for `lstm_backward`."""

    x: np.ndarray  # (B, T, D), zeros where masked
    h: np.ndarray  # (B, T + 1, H), the state before the first step and after each
    c: np.ndarray  # (B, T + 1, H)
    gates: np.ndarray  # (B, T, 4H), after their activations
    mask: np.ndarray  # (B, T)
    cap_input_gate: bool


def lstm_step(
    weights: LSTMWeights, x: ArrayLike, h: ArrayLike, c: ArrayLike, cap_input_gate: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """One step: `c_next = f * c + i * g`, `h_next = o * tanh(c_next)`.

    Args:
        weights: `LSTMWeights`.
        x: (B, D), the input.
        h: (B, H), the hidden state, the previous output.
        c: (B, H), the cell state.
        cap_input_gate: whether `min(i, 1 - f)` replaces i; False by default, as in Keras.

    Returns:
        `(h_next, c_next)`: (B, H) each; h_next is also the output.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import LSTMWeights, lstm_step
        >>> weights = LSTMWeights(np.zeros((3, 8)), np.zeros((2, 8)), np.zeros(8))
        >>> h, c = lstm_step(weights, np.ones((1, 3)), np.zeros((1, 2)), np.array([[0.0, 2.0]]))
        >>> c, h.round(4)
        (array([[0., 1.]]), array([[0.    , 0.3808]]))

    Reference:
        Gers et al., 2000; Melis et al., 2018, for the cap.
    """
    weights = expect_weights(weights, num_blocks=4)
    x = expect("x", x, "B", weights.kernel.shape[0])
    h = expect("h", h, x.shape[0], weights.recurrent_kernel.shape[0])
    c = expect("c", c, *h.shape)
    return _update(_gates(weights, x, h), c, cap_input_gate)


def _gates(weights, x, h):
    z = x @ weights.kernel + h @ weights.recurrent_kernel + weights.bias
    z_i, z_f, z_g, z_o = np.split(z, 4, axis=-1)
    return np.concatenate([sigmoid(z_i), sigmoid(z_f), tanh(z_g), sigmoid(z_o)], axis=-1)


def _update(gates, c, cap_input_gate):
    i, f, g, o = np.split(gates, 4, axis=-1)
    a = np.minimum(i, 1 - f) if cap_input_gate else i
    c = f * c + a * g
    return o * tanh(c), c


def lstm_forward(
    weights: LSTMWeights,
    x: ArrayLike,
    h0: ArrayLike | None = None,
    c0: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    cap_input_gate: bool = False,
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], LSTMCache]:
    """A whole sequence: `c[t] = f * c[t-1] + i * g`, `h[t] = o * tanh(c[t])`.

    Args:
        weights: `LSTMWeights`.
        x: (B, T, D), the inputs; the values of masked steps are ignored.
        h0: (B, H), the hidden state before the first step; zeros by default.
        c0: (B, H), the cell state before the first step; zeros by default.
        mask: bool (B, T), True on real steps; every step is real by default.
        cap_input_gate: whether `min(i, 1 - f)` replaces i; False by default, as in Keras.

    Returns:
        `(outputs, (h_T, c_T), cache)`: (B, T, H), (B, H) twice, and what `lstm_backward` needs.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import LSTMWeights, lstm_forward
        >>> weights = LSTMWeights(np.ones((3, 8)), np.ones((2, 8)), np.zeros(8))
        >>> outputs, (h_T, c_T), _ = lstm_forward(weights, np.ones((1, 5, 3)))
        >>> outputs.shape, bool(np.all(outputs[:, -1] == h_T))
        ((1, 5, 2), True)

    Reference:
        Gers et al., 2000; Melis et al., 2018, for the cap.
    """
    weights = expect_weights(weights, num_blocks=4)
    x, mask = expect_sequence(x, mask, weights.kernel.shape[0])
    (batch, length), units = mask.shape, weights.recurrent_kernel.shape[0]
    h, c = np.empty((2, batch, length + 1, units))
    h[:, 0] = expect_or_zeros("h0", h0, batch, units)
    c[:, 0] = expect_or_zeros("c0", c0, batch, units)
    gates = np.empty((batch, length, 4 * units))
    outputs, output = np.empty((batch, length, units)), np.zeros((batch, units))
    for t in range(length):
        real = mask[:, t, None]
        gates[:, t] = _gates(weights, x[:, t], h[:, t])
        h_next, c_next = _update(gates[:, t], c[:, t], cap_input_gate)
        h[:, t + 1] = np.where(real, h_next, h[:, t])
        c[:, t + 1] = np.where(real, c_next, c[:, t])
        outputs[:, t] = output = np.where(real, h_next, output)
    cache = LSTMCache(x, h, c, gates, mask, cap_input_gate)
    return outputs, (h[:, -1].copy(), c[:, -1].copy()), cache


def _step_backward(gates, c, c_next, d_h, d_c, cap_input_gate):
    """`(d_z, d_c)` before a step from the derivatives after it; the equations are above."""
    i, f, g, o = np.split(gates, 4, axis=-1)
    tanh_c = tanh(c_next)
    d_c = d_c + d_h * o * tanh_derivative(tanh_c)
    a, d_i, d_f = i, d_c * g, d_c * c
    if cap_input_gate:
        a, d_cap = np.minimum(i, 1 - f), np.where(i <= 1 - f, 0.0, d_i)
        d_i, d_f = d_i - d_cap, d_f - d_cap
    d_z = [
        d_i * sigmoid_derivative(i),
        d_f * sigmoid_derivative(f),
        d_c * a * tanh_derivative(g),
        d_h * tanh_c * sigmoid_derivative(o),
    ]
    return np.concatenate(d_z, axis=-1), d_c * f


def lstm_backward(
    weights: LSTMWeights,
    cache: LSTMCache,
    d_outputs: ArrayLike,
    d_h_T: ArrayLike | None = None,
    d_c_T: ArrayLike | None = None,
) -> tuple[LSTMWeights, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Derivatives of a loss with respect to every argument of `lstm_forward`.

        d_h[t] = d_outputs[t] + d_z[t+1] R^T
        d_c[t] = d_c[t+1] * f[t+1] + d_h[t] * o[t] * (1 - tanh(c[t])**2)

    and d_z[t] from these two, gate by gate, as at the head of this file.

    Args:
        weights: the `LSTMWeights` of the forward pass.
        cache: what the forward pass saved.
        d_outputs: (B, T, H), derivatives with respect to the outputs.
        d_h_T: (B, H), derivative with respect to the final hidden state; zeros by default.
        d_c_T: (B, H), derivative with respect to the final cell state; zeros by default.

    Returns:
        `(gradients, d_x, (d_h0, d_c0))`: `LSTMWeights`, (B, T, D) with zeros where masked, and
        (B, H) twice.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import LSTMWeights, lstm_backward, lstm_forward
        >>> weights = LSTMWeights(np.zeros((3, 8)), np.zeros((2, 8)), np.zeros(8))
        >>> outputs, _, cache = lstm_forward(weights, np.ones((1, 5, 3)))
        >>> gradients, d_x, (d_h0, d_c0) = lstm_backward(weights, cache, np.ones((1, 5, 2)))
        >>> float(d_c0[0, 0]) == sum(0.5 * 0.5**t for t in range(1, 6))  # every step forgets half
        True

    Reference:
        Werbos, 1990.
    """
    weights = expect_weights(weights, num_blocks=4)
    x, h, c, gates, mask, cap_input_gate = cache
    (batch, length), units = mask.shape, weights.recurrent_kernel.shape[0]
    d_outputs = expect("d_outputs", d_outputs, batch, length, units)
    d_h = expect_or_zeros("d_h_T", d_h_T, batch, units)
    d_c = expect_or_zeros("d_c_T", d_c_T, batch, units)
    d_output, d_z = np.zeros((batch, units)), np.empty((batch, length, 4 * units))
    for t in reversed(range(length)):
        real = mask[:, t, None]
        d_output = d_output + d_outputs[:, t]
        d_z_t, d_c_before = _step_backward(gates[:, t], c[:, t], c[:, t + 1], d_h + d_output, d_c, cap_input_gate)
        d_z[:, t] = np.where(real, d_z_t, 0.0)
        d_h = np.where(real, d_z[:, t] @ weights.recurrent_kernel.T, d_h)
        d_c = np.where(real, d_c_before, d_c)
        d_output = np.where(real, 0.0, d_output)
    gradients = LSTMWeights(
        np.einsum("btd,btz->dz", x, d_z),
        np.einsum("bth,btz->hz", h[:, :-1], d_z),
        np.einsum("btz->z", d_z),
    )
    return gradients, d_z @ weights.kernel.T, (d_h, d_c)
