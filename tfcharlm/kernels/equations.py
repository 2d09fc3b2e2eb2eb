"""The equations of the simple recurrent network, the LSTM and the GRU, and their gradients by hand.

The equations are elementwise, so they hold for columns (units, B) and for rows (B, units). Gradients are for columns.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from tfcharlm.kernels.recurrences import Recurrence, StepGradient

Activation = Callable[[tf.Tensor], tf.Tensor]
Values = Mapping[str, tf.Tensor]


def rnn_equation(
    z: Sequence[tf.Tensor], states: Values, parameters: Values, activation: Activation = tf.tanh
) -> dict[str, tf.Tensor]:
    r"""One step of a simple recurrent network: $h_t = \phi(z)$.

    Args:
        z: one block.
        states: h; it is in z already.
        parameters: none.
        activation: `phi`. tanh by default: it is zero-centered and bounded, so the state cannot drift or explode.

    Returns:
        h.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.kernels import rnn_equation
    >>> rnn_equation([tf.zeros(2)], {"h": tf.ones(2)}, {})["h"].numpy()
    array([0., 0.], dtype=float32)

    Reference: Elman (1990), Finding structure in time.
    """
    return {"h": activation(z[0])}


def lstm_equation(
    z: Sequence[tf.Tensor],
    states: Values,
    parameters: Values,
    activation: Activation = tf.tanh,
    recurrent_activation: Activation = tf.sigmoid,
    cap_input_gate: bool = False,
) -> dict[str, tf.Tensor]:
    r"""One step of a long short-term memory (LSTM) with a forget gate.

    $$ i = \sigma(z_i), \quad f = \sigma(z_f), \quad g = \phi(z_g), \quad o = \sigma(z_o) $$
    $$ c_t = f \odot c_{t-1} + i \odot g, \qquad h_t = o \odot \phi(c_t) $$

    Args:
        z: four blocks in the order i, f, g, o, that of `keras.layers.LSTM`; Keras calls g "c".
        states: h and c.
        parameters: none.
        activation: `phi`, of the candidate and of the cell state. tanh by default, as published.
        recurrent_activation: `sigma`, of the three gates. The logistic function by default, as published.
        cap_input_gate: whether i is at most 1 - f, so that c stays within the bounds of `phi`. False by default, as in
            Keras.

    Returns:
        h and c, and the gates i, f, g and o.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.kernels import lstm_equation
    >>> lstm_equation([tf.zeros(3)] * 4, {"h": tf.zeros(3), "c": tf.ones(3)}, {})["c"].numpy()  # gates are half open
    array([0.5, 0.5, 0.5], dtype=float32)

    Reference: Hochreiter & Schmidhuber (1997); Gers, Schmidhuber & Cummins (2000) for the forget gate; Melis, Dyer &
    Blunsom (2018), On the state of the art of evaluation in neural language models, for the cap.
    """
    z_i, z_f, z_g, z_o = z
    i, f, o = recurrent_activation(z_i), recurrent_activation(z_f), recurrent_activation(z_o)
    i = tf.minimum(i, 1 - f) if cap_input_gate else i
    kept, g = f * states["c"], activation(z_g)
    c = kept + i * g
    return {"h": o * activation(c), "c": c, "i": i, "f": f, "g": g, "o": o}


def gru_equation(
    z: Sequence[Sequence[tf.Tensor]],
    states: Values,
    parameters: Values,
    activation: Activation = tf.tanh,
    recurrent_activation: Activation = tf.sigmoid,
) -> dict[str, tf.Tensor]:
    r"""One step of a gated recurrent unit (GRU), whose reset gate comes after the matrix product.

    $$ z = \sigma(x_z + h_z), \quad r = \sigma(x_r + h_r), \quad g = \phi(x_g + r \odot h_g), \quad
       h_t = z \odot h_{t-1} + (1 - z) \odot g $$

    Args:
        z: the three blocks of the input and the three of the state, in the order z, r, g: that of `keras.layers.GRU`;
            Keras calls g "h".
        states: h.
        parameters: none.
        activation: `phi`, of the candidate g. tanh by default, as published.
        recurrent_activation: `sigma`, of the gates. The logistic function by default, as published.

    Returns:
        h, the gates z and r, and the candidate g.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.kernels import gru_equation
    >>> gru_equation([[tf.zeros(2)] * 3] * 2, {"h": tf.ones(2)}, {})["h"].numpy()  # gates are half open
    array([0.5, 0.5], dtype=float32)

    Reference: Cho et al. (2014), Learning phrase representations using RNN encoder-decoder for statistical machine
    translation; the reset gate comes after the product, as in cuDNN.
    """
    (x_z, x_r, x_g), (h_z, h_r, h_g) = z
    update, reset = recurrent_activation(x_z + h_z), recurrent_activation(x_r + h_r)
    g = activation(x_g + reset * h_g)
    return {"h": update * states["h"] + (1 - update) * g, "z": update, "r": reset, "g": g}


def _rnn_forward(z, states, parameters):
    h = tf.tanh(z[0])
    return (h,), (h,)


def _rnn_backward(d_next_states, residuals, parameters):
    return (tf.raw_ops.TanhGrad(y=residuals[0], dy=d_next_states[0]),), (None,), {}


def _lstm_forward(z, states, parameters, capped):
    units = states[0].shape[0]
    z_if, z_g, z_o = tf.split(z[0], [2 * units, units, units], axis=0)
    i_f, g, o = tf.sigmoid(z_if), tf.tanh(z_g), tf.sigmoid(z_o)
    i, f = tf.split(i_f, 2, axis=0)
    c = f * states[1] + (tf.minimum(i, 1 - f) if capped else i) * g
    return (o * tf.tanh(c), c), (i_f, g, o, states[1], c)


def _lstm_backward(d_next_states, residuals, parameters, capped):
    d_h, d_c = d_next_states
    i_f, g, o, before, c = residuals
    i, f = tf.split(i_f, 2, axis=0)
    tanh_c = tf.tanh(c)  # cheaper to recompute than to save
    d_c += tf.raw_ops.TanhGrad(y=tanh_c, dy=d_h * o)
    d_i, d_f, admitted = d_c * g, d_c * before, i
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
    return (tf.concat(d_z, axis=0),), (None, d_c * f), {}


def _lstm(capped):
    gradient = StepGradient(
        residual_blocks=(2, 1, 1, 1, 1),
        forward=functools.partial(_lstm_forward, capped=capped),
        backward=functools.partial(_lstm_backward, capped=capped),
    )
    equation = functools.partial(lstm_equation, cap_input_gate=capped)
    native = "capped_lstm" if capped else "lstm"
    return Recurrence(equation, 4, ("h", "c"), elementwise=True, gradient=gradient, native=native)


def _gru_forward(z, states, parameters):
    (h,), units = states, states[0].shape[0]
    (x_zr, x_g), (h_zr, h_g) = (tf.split(part, [2 * units, units], axis=0) for part in z)
    gates = tf.sigmoid(x_zr + h_zr)
    update, reset = tf.split(gates, 2, axis=0)
    g = tf.tanh(x_g + reset * h_g)
    return (g + update * (h - g),), (gates, g, h_g, h)


def _gru_backward(d_next_states, residuals, parameters):
    (d_h,), (gates, g, h_g, h) = d_next_states, residuals
    update, reset = tf.split(gates, 2, axis=0)
    d_z = tf.raw_ops.SigmoidGrad(y=update, dy=d_h * (h - g))
    d_before = d_h * update
    d_g = tf.raw_ops.TanhGrad(y=g, dy=d_h - d_before)
    d_r = tf.raw_ops.SigmoidGrad(y=reset, dy=d_g * h_g)
    d_of_state = tf.concat([d_z, d_r, d_g * reset], axis=0)
    return (tf.concat([d_z, d_r, d_g], axis=0), d_of_state), (d_before,), {}


RNN = Recurrence(rnn_equation, elementwise=True, gradient=StepGradient((1,), _rnn_forward, _rnn_backward), native="rnn")
LSTM = _lstm(capped=False)
CAPPED_LSTM = _lstm(capped=True)
GRU = Recurrence(
    gru_equation,
    3,
    separate=True,
    elementwise=True,
    gradient=StepGradient((2, 1, 1, 1), _gru_forward, _gru_backward),
    native="gru",
)
