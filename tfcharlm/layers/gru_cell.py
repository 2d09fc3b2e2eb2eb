"""GRUCell: the arrays, options and numbers of `keras.layers.GRU`."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf

from tfcharlm import kernels
from tfcharlm.layers.recurrent_cell import RecurrentCell


@keras.saving.register_keras_serializable(package="tfcharlm")
class GRUCell(RecurrentCell):
    r"""One step of a gated recurrent unit (GRU), for `keras.layers.RNN` and `tfcharlm.RNN`.

    $$ (x_z, x_r, x_g) = x_t W + b, \qquad (h_z, h_r, h_g) = h_{t-1} U + b' $$
    $$ z = \sigma(x_z + h_z), \quad r = \sigma(x_r + h_r), \quad g = \phi(x_g + r \odot h_g), \quad
       h_t = z \odot h_{t-1} + (1 - z) \odot g $$

    With `reset_after=False` the reset gate comes before the product: $g = \phi(x_g + (r \odot h_{t-1}) U_g)$, and there
    is no b'.

    Its weights are those of `keras.layers.GRU`: `set_weights(gru.get_weights())` gives the same layer. The blocks are
    in the order z, r, g; Keras calls g "h".

    Args:
        units: size of the state h and of the output.
        activation: `phi`, of the candidate g; tanh by default, as published.
        recurrent_activation: `sigma`, of the gates; the logistic function by default, as published.
        use_bias: whether there is a `bias`; True by default.
        kernel_initializer: of `kernel` W (input_dim, 3 * units); Glorot uniform by default.
        recurrent_initializer: of `recurrent_kernel` U (units, 3 * units); orthogonal by default.
        bias_initializer: of `bias`, (2, 3 * units) or, if the reset gate comes before the product, (3 * units,); zeros
            by default.
        reset_after: whether the reset gate comes after the product with U. True by default, as in `keras.layers.GRU`
            and cuDNN: one product with U is then enough for a step.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalties added to the loss; none by default.
        kernel_constraint, recurrent_constraint, bias_constraint: projections applied after an update; none by default.

    Call arguments:
        inputs: (B, input_dim).
        states: a list of one tensor (B, units).

    Returns:
        `(output (B, units), [h (B, units)])`; output and state are the same numbers.

    Raises:
        ValueError: `units` is not a positive integer.

    Example:

    >>> import keras, tfcharlm
    >>> layer = tfcharlm.RNN(tfcharlm.GRUCell(5), return_sequences=True)
    >>> layer(keras.ops.ones((2, 3, 4))).shape
    TensorShape([2, 3, 5])

    Reference: Cho et al. (2014), Learning phrase representations using RNN encoder-decoder for statistical machine
    translation.
    """

    num_blocks = 3
    gate_names = ("z", "r")
    separate = True
    config_types: ClassVar[dict[str, str]] = {"recurrent_activation": "activation", "reset_after": "boolean"}

    def __init__(
        self,
        units: int,
        activation: str | Callable = "tanh",
        recurrent_activation: str | Callable = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        *,
        reset_after: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units, activation, use_bias, kernel_initializer, recurrent_initializer, bias_initializer, **kwargs
        )
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.reset_after = reset_after

    def weight_shapes(self, input_dim: int) -> dict[str, tuple[int, ...]]:
        """The shapes of all weights by name, in their order, for inputs (..., input_dim)."""
        shapes = super().weight_shapes(input_dim)
        return shapes | {"bias": (2, 3 * self.units)} if self.use_bias and self.reset_after else shapes

    def step(
        self, z: Sequence[Sequence[tf.Tensor]], states: Mapping[str, tf.Tensor], parameters: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """h and the gates after one step, from the blocks of the input and those of the state."""
        if self.reset_after:
            return kernels.gru_equation(z, states, parameters, self.activation, self.recurrent_activation)
        (x_z, x_r, x_g), (h_z, h_r), h = *z, states["h"]
        update, reset = self.recurrent_activation(x_z + h_z), self.recurrent_activation(x_r + h_r)
        g = self.activation(x_g + tf.matmul(parameters["candidate_kernel"], reset * h, transpose_a=True))
        return {"h": update * h + (1 - update) * g, "z": update, "r": reset, "g": g}

    @property
    def recurrence(self) -> kernels.Recurrence:
        """What `tfcharlm.kernels` needs to run this cell over a sequence."""
        if not self.reset_after:
            return dataclasses.replace(super().recurrence, num_recurrent_blocks=2)
        if type(self).step is not GRUCell.step:
            return super().recurrence
        if (self.activation, self.recurrent_activation) == (keras.activations.tanh, keras.activations.sigmoid):
            return kernels.GRU
        return kernels.Recurrence(self.step, 3, separate=True, elementwise=True)

    def weight_tensors(self, recurrent_dropout_mask: tf.Tensor | None = None) -> kernels.Weights:
        """The weights as the functions of `tfcharlm.kernels` take them."""
        weights = super().weight_tensors(recurrent_dropout_mask)
        if self.reset_after:
            return weights
        # This block of U multiplies what the reset gate lets through, so `step` gets it as a parameter.
        gates, candidate = tf.split(weights.recurrent_kernel, [2 * self.units, self.units], axis=1)
        return weights._replace(
            recurrent_kernel=gates, parameters={**weights.parameters, "candidate_kernel": candidate}
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor arguments as plain data."""
        config = super().get_config()
        config.update(
            recurrent_activation=keras.activations.serialize(self.recurrent_activation), reset_after=self.reset_after
        )
        return config
