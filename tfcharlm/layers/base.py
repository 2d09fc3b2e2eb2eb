"""What an RNN cell and an LSTM cell share: three weight arrays, created, regularized and serialized as in Keras."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf

from tfcharlm.checks import POSITIVE_INTEGER, short_repr
from tfcharlm.kernels import at_least_float32_dtype
from tfcharlm.layers.call_checks import check_cell_options


class BaseRecurrentCell(keras.layers.Layer):
    """A cell that owns `kernel` (D, G*units), `recurrent_kernel` (units, G*units) and `bias` (G*units,).

    A subclass defines the following, and the rest of the package needs to know nothing else about it:

    - `num_blocks` (G): the number of column blocks, 1 for an RNN and 4 for an LSTM;
    - `state_size`: the size of a state, or a list of sizes;
    - `next_states(weights, inputs, states)`: the states after one step, h first;
    - `recurrence`: the recurrence that its fused kernel runs;
    - `why_not_fused`: one line if its activations rule the fused kernel out, else None;
    - `state_names` and `gate_names`, and `record(z)`: the values of gates and states over a text;
    - `config_types`: the constructor arguments that it adds to those below, each "activation" or "boolean";
    - `onnx_equation(cell, graph, x, *states)`: the output and the next states as ONNX operations.

    Args:
        units: size of the state h and of the output.
        activation: name or function; tanh by default, because it is bounded and zero-centered.
        use_bias: whether there is a `bias`; True by default.
        kernel_initializer, recurrent_initializer, bias_initializer: as in `keras.layers.SimpleRNN`.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalties added to the loss; none by default.
        kernel_constraint, recurrent_constraint, bias_constraint: projections applied after an update; none by default.
        **kwargs: `name`, `dtype` and the like, as in `keras.layers.Layer`.

    Raises:
        ValueError: `units` is not a positive integer.

    Example:

    >>> import tfcharlm
    >>> from tfcharlm.layers import BaseRecurrentCell
    >>> issubclass(tfcharlm.LSTMCell, BaseRecurrentCell), tfcharlm.LSTMCell.num_blocks
    (True, 4)
    """

    num_blocks: ClassVar[int] = 1
    state_names: ClassVar[tuple[str, ...]] = ("h",)
    gate_names: ClassVar[tuple[str, ...]] = ()
    config_types: ClassVar[dict[str, str]] = {}

    def __init__(
        self,
        units: int,
        activation: str | Callable = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        units = POSITIVE_INTEGER.check("units", units, f", such as {type(self).__name__}(256)")
        check_cell_options(type(self).__name__, kwargs)
        # With autocast, Keras would round the incoming states to the compute dtype.
        super().__init__(**kwargs | {"autocast": False})
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
    def activity_regularizer(self) -> None:
        """Always None: a cell runs in a loop, out of which Keras can bring no penalty. The layer may have one."""
        return None

    @activity_regularizer.setter
    def activity_regularizer(self, value: Any) -> None:
        if value is not None:
            raise ValueError(
                f"activity_regularizer must be None for a cell; received {short_repr(value)}. "
                "Type tfcharlm.RNN(cell, activity_regularizer=...)."
            )

    @property
    def output_size(self) -> int:
        """The size of the output, which is h."""
        return self.units

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights for inputs of shape (..., D)."""
        columns = self.num_blocks * self.units
        self.kernel = self.add_weight(
            shape=(input_shape[-1], columns),
            name="kernel",
            initializer=_rounded(self.kernel_initializer),
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            autocast=False,  # kernels round it themselves
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, columns),
            name="recurrent_kernel",
            initializer=_rounded(self.recurrent_initializer),
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
            autocast=False,  # kernels round it themselves
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(columns,),
                name="bias",
                initializer=_rounded(self._initial_bias),
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                autocast=False,
            )

    def _initial_bias(self, shape, dtype=None):
        # What `add_weight` makes of None.
        return (self.bias_initializer or keras.initializers.GlorotUniform())(shape, dtype=dtype)

    def call(
        self, inputs: tf.Tensor, states: Sequence[tf.Tensor], training: bool = False
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """One step: `(output (B, units), states)`, from inputs (B, D) and the previous states, h first."""
        # Keras's cells take a single state without a list, too.
        is_list = isinstance(states, (list, tuple))
        next_states = self.next_states(self.step_weights(), self.operand(inputs), states if is_list else [states])
        return next_states[0], next_states if is_list else next_states[0]

    @property
    def raw_weights(self) -> tuple[keras.Variable, keras.Variable, keras.Variable | None]:
        """`(kernel, recurrent_kernel, bias or None)`, in the order that the functions of `tfcharlm.kernels` expect."""
        return self.kernel, self.recurrent_kernel, self.bias

    def step_weights(self) -> tuple[tf.Tensor | None, ...]:
        """The raw weights in the compute dtype."""
        return tuple(w if w is None else self.operand(w) for w in self.raw_weights)

    def operand(self, tensor: tf.Tensor | keras.Variable) -> tf.Tensor:
        """A tensor or a variable as a tensor in the compute dtype."""
        return tf.cast(tf.convert_to_tensor(tensor), self.compute_dtype)

    @property
    def why_not_fused(self) -> str | None:
        """Why the fused kernel cannot compute this cell, in one line; None if it can."""
        return None if self.activation is keras.activations.tanh else f"activation of {self.name} is not tanh"

    def get_initial_state(self, batch_size: int | tf.Tensor | None = None) -> list[tf.Tensor]:
        """Zeros (batch_size, units) for each state, float32 at least, because a state sums up many small updates."""
        if batch_size is None:
            raise ValueError("batch_size must be a whole number; received None. Type get_initial_state(batch_size=1).")
        sizes = keras.tree.flatten(self.state_size)
        return [tf.zeros((batch_size, size), dtype=at_least_float32_dtype(self.compute_dtype)) for size in sizes]

    def get_config(self) -> dict[str, Any]:
        """The constructor arguments as plain data."""
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


def _rounded(initializer):
    """An initializer that draws in float32 at least: TensorFlow has no bfloat16 factorization for orthogonal ones."""
    if initializer is None:
        return None
    return lambda shape, dtype: keras.ops.cast(initializer(shape, dtype=at_least_float32_dtype(dtype).name), dtype)
