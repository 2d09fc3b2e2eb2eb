"""RNNCell and LSTMCell: Keras layers that own the weights of the step functions in `tfcharlm.kernels`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf
from keras import ops

from tfcharlm import kernels
from tfcharlm.layers.recurrent_cell import RecurrentCell


@keras.saving.register_keras_serializable(package="tfcharlm")
class RNNCell(RecurrentCell):
    r"""One step of a simple recurrent network, for `keras.layers.RNN` and `tfcharlm.RNN`.

    $$ h_t = \phi(x_t W + h_{t-1} U + b) $$

    Its weights are those of `keras.layers.SimpleRNN`: `set_weights(simple_rnn.get_weights())` gives the same layer.

    Args:
        units: size of the state and of the output.
        activation: `phi`; tanh by default, because it is bounded and zero-centered.
        use_bias: whether there is a `bias`; True by default.
        kernel_initializer: of `kernel` W (input_dim, units). Glorot uniform by default: it keeps the variance of the
            input.
        recurrent_initializer: of `recurrent_kernel` U (units, units). Orthogonal by default: such a matrix neither
            shrinks nor stretches the state (Saxe et al. 2014).
        bias_initializer: of `bias` b (units,); zeros by default.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalties added to the loss; none by default.
        kernel_constraint, recurrent_constraint, bias_constraint: projections applied after an update; none by default.

    Call arguments:
        inputs: (B, input_dim).
        states: a list of one tensor (B, units).

    Returns:
        `(output (B, units), [state (B, units)])`; output and state are the same numbers.

    Raises:
        ValueError: `units` is not a positive integer.

    Example:

    >>> import keras, tfcharlm
    >>> layer = keras.layers.RNN(tfcharlm.RNNCell(5), return_sequences=True)
    >>> layer(keras.ops.ones((2, 3, 4))).shape
    TensorShape([2, 3, 5])

    Reference: Elman (1990), Finding structure in time.
    """

    def step(
        self, z: Sequence[tf.Tensor], states: Mapping[str, tf.Tensor], parameters: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """h after one step, from one block of pre-activations."""
        return kernels.rnn_equation(z, states, parameters, self.activation)

    @property
    def recurrence(self) -> kernels.Recurrence:
        """What `tfcharlm.kernels` needs to run this cell over a sequence."""
        if type(self).step is not RNNCell.step:
            return super().recurrence
        if self.activation is keras.activations.tanh:
            return kernels.RNN
        return kernels.Recurrence(self.step, elementwise=True)


@keras.saving.register_keras_serializable(package="tfcharlm")
class LSTMCell(RecurrentCell):
    r"""One step of a long short-term memory (LSTM), for `keras.layers.RNN` and `tfcharlm.RNN`.

    $$ (z_i, z_f, z_g, z_o) = x_t W + h_{t-1} U + b $$
    $$ c_t = \sigma(z_f) \odot c_{t-1} + \sigma(z_i) \odot \phi(z_g), \qquad h_t = \sigma(z_o) \odot \phi(c_t) $$

    Its weights are those of `keras.layers.LSTM`: `set_weights(lstm.get_weights())` gives the same layer. The gate
    blocks are in the order i, f, c, o, where c is the candidate g above. Under a bfloat16 policy the matrix products
    are bfloat16, and everything after them is computed in float32.

    Args:
        units: size of the cell state c, of the state h and of the output.
        activation: `phi`, of the candidate and of the cell state; tanh by default, as published.
        recurrent_activation: `sigma`, of the gates; the logistic function by default, as published.
        use_bias: whether there is a `bias`; True by default.
        kernel_initializer: of `kernel` W (input_dim, 4 * units); Glorot uniform by default.
        recurrent_initializer: of `recurrent_kernel` U (units, 4 * units); orthogonal by default.
        bias_initializer: of `bias` b (4 * units,); zeros by default, except for the forget gate.
        unit_forget_bias: whether the bias of the forget gate starts at 1, so that a new cell remembers. True by default
            (Jozefowicz et al. 2015).
        cap_input_gate: whether the input gate is at most 1 - sigma(z_f), so that the cell state stays between -1 and 1
            (Melis et al. 2018). False by default, as in `keras.layers.LSTM`.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalties added to the loss; none by default.
        kernel_constraint, recurrent_constraint, bias_constraint: projections applied after an update; none by default.

    Call arguments:
        inputs: (B, input_dim).
        states: a list of two tensors (B, units), `[h, c]`.

    Returns:
        `(output (B, units), [h (B, units), c (B, units)])`.

    Raises:
        ValueError: `units` is not a positive integer.

    Example:

    >>> import keras, tfcharlm
    >>> layer = keras.layers.RNN(tfcharlm.LSTMCell(5), return_state=True)
    >>> output, h, c = layer(keras.ops.ones((2, 3, 4)))
    >>> output.shape, c.shape
    (TensorShape([2, 5]), TensorShape([2, 5]))

    Reference: Hochreiter & Schmidhuber (1997); Gers, Schmidhuber & Cummins (2000); Jozefowicz et al. (2015); Melis,
    Dyer & Blunsom (2018).
    """

    num_blocks = 4
    state_names = ("h", "c")
    gate_names = ("i", "f", "o")
    config_types: ClassVar[dict[str, str]] = {
        "recurrent_activation": "activation",
        "unit_forget_bias": "boolean",
        "cap_input_gate": "boolean",
    }

    def __init__(
        self,
        units: int,
        activation: str | Callable = "tanh",
        recurrent_activation: str | Callable = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        *,
        cap_input_gate: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units, activation, use_bias, kernel_initializer, recurrent_initializer, bias_initializer, **kwargs
        )
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.unit_forget_bias = unit_forget_bias
        self.cap_input_gate = cap_input_gate

    def _initial_bias(self, shape, dtype=None):
        if not self.unit_forget_bias:
            return super()._initial_bias(shape, dtype)
        return ops.concatenate(
            [
                super()._initial_bias((self.units,), dtype),
                ops.ones((self.units,), dtype=dtype),
                super()._initial_bias((2 * self.units,), dtype),
            ]
        )

    def step(
        self, z: Sequence[tf.Tensor], states: Mapping[str, tf.Tensor], parameters: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """h, c and the gates after one step, from four blocks of pre-activations."""
        activations = self.activation, self.recurrent_activation
        return kernels.lstm_equation(z, states, parameters, *activations, self.cap_input_gate)

    @property
    def recurrence(self) -> kernels.Recurrence:
        """What `tfcharlm.kernels` needs to run this cell over a sequence."""
        if type(self).step is not LSTMCell.step:
            return super().recurrence
        if (self.activation, self.recurrent_activation) == (keras.activations.tanh, keras.activations.sigmoid):
            return kernels.CAPPED_LSTM if self.cap_input_gate else kernels.LSTM
        return kernels.Recurrence(self.step, 4, ("h", "c"), elementwise=True)

    def get_config(self) -> dict[str, Any]:
        """The constructor arguments as plain data."""
        config = super().get_config()
        config.update(
            recurrent_activation=keras.activations.serialize(self.recurrent_activation),
            unit_forget_bias=self.unit_forget_bias,
            cap_input_gate=self.cap_input_gate,
        )
        return config
