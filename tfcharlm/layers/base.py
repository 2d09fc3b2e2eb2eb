"""What an RNN cell and an LSTM cell share: three arrays, made, regularized and serialized as Keras's cells do."""

from typing import ClassVar

import keras
import tensorflow as tf

from tfcharlm.checks import POSITIVE_INTEGER
from tfcharlm.kernels import at_least_float32_dtype

if keras.config.backend() != "tensorflow":
    raise ImportError(
        f"tfcharlm runs on Keras's TensorFlow backend; received {keras.config.backend()!r}. "
        "Type export KERAS_BACKEND=tensorflow before Python starts."
    )


class BaseRecurrentCell(keras.layers.Layer):
    """A cell that owns `kernel` (D, G*units), `recurrent_kernel` (units, G*units) and `bias` (G*units,).

    A subclass defines what makes it a cell of its own, and everything else in the package follows from that:

    - `num_blocks` (G), `state_size`, and `next_states(weights, inputs, states)`: the states after one step, h first;
    - `recurrence`, its fused kernel, and `why_not_fused`, a line if its activations rule that out;
    - `state_names` and `gate_names`, and `record(z)`: the values of gates and states over a text;
    - `config_types`, the arguments that it adds to those below, each "activation" or "boolean";
    - `onnx_equation(cell, graph, x, *states)`, the output and the next states as ONNX operations.
    """

    num_blocks = 1
    state_names: tuple[str, ...] = ("h",)
    gate_names: tuple[str, ...] = ()
    config_types: ClassVar[dict[str, str]] = {}

    def __init__(
        self,
        units,
        activation="tanh",
        use_bias=True,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        bias_initializer="zeros",
        kernel_regularizer=None,
        recurrent_regularizer=None,
        bias_regularizer=None,
        kernel_constraint=None,
        recurrent_constraint=None,
        bias_constraint=None,
        **kwargs,
    ):
        units = POSITIVE_INTEGER.check("units", units, f", such as {type(self).__name__}(256)")
        # Keras would round the states that come in to the compute dtype.
        super().__init__(autocast=False, **kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(recurrent_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = keras.regularizers.get(recurrent_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.recurrent_constraint = keras.constraints.get(recurrent_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)

    @property
    def output_size(self):
        return self.units

    def build(self, input_shape):
        columns = self.num_blocks * self.units
        self.kernel = self.add_weight(
            shape=(input_shape[-1], columns),
            name="kernel",
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            autocast=False,  # kernels round it themselves
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, columns),
            name="recurrent_kernel",
            initializer=self.recurrent_initializer,
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
            autocast=False,  # kernels round it themselves
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(columns,),
                name="bias",
                initializer=self._initial_bias,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                autocast=False,
            )

    def _initial_bias(self, shape, dtype=None):
        return self.bias_initializer(shape, dtype=dtype)

    def call(self, inputs, states, training=False):
        next_states = self.next_states(self.step_weights(), self.operand(inputs), states)
        return next_states[0], next_states

    @property
    def raw_weights(self):
        """`(kernel, recurrent_kernel, bias or None)`, as the functions of `tfcharlm.kernels` take them."""
        return self.kernel, self.recurrent_kernel, self.bias

    def step_weights(self):
        """The raw weights in the compute dtype."""
        return tuple(w if w is None else self.operand(w) for w in self.raw_weights)

    def operand(self, tensor):
        return tf.cast(tf.convert_to_tensor(tensor), self.compute_dtype)

    @property
    def why_not_fused(self):
        """Why the fused kernel cannot compute this cell, in one line, or None."""
        return None if self.activation is keras.activations.tanh else f"activation of {self.name} is not tanh"

    def get_initial_state(self, batch_size=None):
        """Zeros, (batch_size, units) for each state; float32 at least, as the sum of many small updates needs it."""
        sizes = keras.tree.flatten(self.state_size)
        return [tf.zeros((batch_size, size), dtype=at_least_float32_dtype(self.compute_dtype)) for size in sizes]

    def get_config(self):
        config = super().get_config()
        config.update(
            units=self.units,
            activation=keras.activations.serialize(self.activation),
            use_bias=self.use_bias,
            kernel_initializer=keras.initializers.serialize(self.kernel_initializer),
            recurrent_initializer=keras.initializers.serialize(self.recurrent_initializer),
            bias_initializer=keras.initializers.serialize(self.bias_initializer),
            kernel_regularizer=keras.regularizers.serialize(self.kernel_regularizer),
            recurrent_regularizer=keras.regularizers.serialize(self.recurrent_regularizer),
            bias_regularizer=keras.regularizers.serialize(self.bias_regularizer),
            kernel_constraint=keras.constraints.serialize(self.kernel_constraint),
            recurrent_constraint=keras.constraints.serialize(self.recurrent_constraint),
            bias_constraint=keras.constraints.serialize(self.bias_constraint),
        )
        return config
