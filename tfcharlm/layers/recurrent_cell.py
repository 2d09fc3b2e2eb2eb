"""RecurrentCell: a Keras cell, made of weight matrices and one function of a step."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf

from tfcharlm import kernels
from tfcharlm.layers.cell_weights import CellWithWeights

# Activations that normalize the units of a row.
OF_A_ROW = [keras.activations.softmax, keras.activations.log_softmax, keras.activations.sparsemax]
ELEMENTWISE_ACTIVATIONS = [
    keras.activations.celu, keras.activations.elu, keras.activations.exponential, keras.activations.gelu,
    keras.activations.hard_shrink, keras.activations.hard_sigmoid, keras.activations.hard_silu,
    keras.activations.hard_tanh, keras.activations.leaky_relu, keras.activations.linear, keras.activations.log_sigmoid,
    keras.activations.mish, keras.activations.relu, keras.activations.relu6, keras.activations.selu,
    keras.activations.sigmoid, keras.activations.silu, keras.activations.soft_shrink, keras.activations.softplus,
    keras.activations.softsign, keras.activations.sparse_plus, keras.activations.sparse_sigmoid,
    keras.activations.squareplus, keras.activations.tanh, keras.activations.tanh_shrink,
]  # fmt: skip
# Methods that the kernels do not call. A cell that overrides one may compute something else.
UNKNOWN_TO_KERNELS = ("call", "next_states", "operand", "step_weights")


class RecurrentCell(CellWithWeights):
    r"""The base class of the cells of this package, and of your own.

    A cell says in `step` what one step computes. It has a `kernel` W (D, G*units), a `recurrent_kernel` U
    (units, G*units) and a `bias` b (G*units,), and `step` gets their products in G blocks. From that follow one step
    for `keras.layers.RNN`, fused kernels for `tfcharlm.RNN` with their gradient, masks, plots of gates, export and
    sampling.

    A subclass defines `step`, and as much of the following as differs:

    - `num_blocks` (G): the number of blocks, 1 by default;
    - `state_names`: of the states, `("h",)` by default; the first one is the output, and U multiplies it;
    - `gate_names`: of those values in the result of `step` that are gates, between 0 and 1; for plots;
    - `state_sizes`: the sizes of the states, `units` each by default. U has as many rows as the output is wide;
    - `parameters`: a property, `{name: Parameter}`; none by default;
    - `separate`: True if `step` needs the products of the input and of the state apart; False by default, because one
      product is faster;
    - `num_recurrent_blocks`: the number of blocks of U, as many as W by default. Fewer need `separate`;
    - `elementwise`: True if `step` is a function of one unit and one row. It then works with rows (B, units), too, and
      a single step transposes nothing. False by default.

    Args:
        units: size of a block, of a state and of the output.
        activation: name or function, for `step` to use; tanh by default, because it is bounded and zero-centered. It
            must work on each number alone, because tensors are columns.
        use_bias: whether there is a `bias`; True by default.
        kernel_initializer, recurrent_initializer, bias_initializer: as in `keras.layers.SimpleRNN`.
        kernel_regularizer, recurrent_regularizer, bias_regularizer: penalties added to the loss; none by default.
        kernel_constraint, recurrent_constraint, bias_constraint: projections applied after an update; none by default.
        **kwargs: `name`, `dtype` and the like, as in `keras.layers.Layer`.

    Raises:
        ValueError: `units` is not a positive integer.

    Example:

    >>> import keras, tensorflow as tf, tfcharlm
    >>> class LeakyCell(tfcharlm.RecurrentCell):
    ...     def step(self, z, states, parameters):
    ...         return {"h": 0.9 * states["h"] + 0.1 * tf.tanh(z[0])}
    >>> layer = tfcharlm.RNN(LeakyCell(5), return_sequences=True)
    >>> layer(keras.ops.ones((2, 7, 3))).shape, layer.why_not_fused
    (TensorShape([2, 7, 5]), None)
    """

    gate_names: ClassVar[tuple[str, ...]] = ()
    separate: ClassVar[bool] = False
    elementwise: ClassVar[bool] = False

    def step(
        self, z: Any, states: Mapping[str, tf.Tensor], parameters: Mapping[str, tf.Tensor]
    ) -> Mapping[str, tf.Tensor]:
        """One step, without its matrix products. All tensors are columns: one for each row of the batch.

        It must use nothing but its arguments and constants: a weight that it reads from `self` would have no gradient.

        Args:
            z: G blocks (units, B) of x W + b + h U. If `separate`, a pair of lists: those of x W + b, those of h U.
            states: the states before the step, `{name: (size, B)}`.
            parameters: `{name: tensor}`; a vector is a column (n, 1).

        Returns:
            The states after the step by name, and whatever plots may show, such as gates, (size, B) each.
        """
        raise NotImplementedError(f"{type(self).__name__} must define step(self, z, states, parameters)")

    @property
    def recurrence(self) -> kernels.Recurrence:
        """What `tfcharlm.kernels` needs to run this cell over a sequence."""
        if not self.elementwise:
            self._check_activations()
        return kernels.Recurrence(
            self.step,
            self.num_blocks,
            tuple(self.state_names),
            self.separate,
            self.num_recurrent_blocks,
            self.elementwise,
        )

    @property
    def why_not_fused(self) -> str | None:
        """Why the fused kernel cannot run this cell, in one line; None if it can."""
        own = next((m for m in UNKNOWN_TO_KERNELS if getattr(type(self), m) is not getattr(RecurrentCell, m)), None)
        if own:
            return f"{type(self).__name__} has no fused kernel, because it has a method {own} of its own"
        name = next(self._other_activations(), None)
        return name and f"{name} of {self.name} is none of Keras's that work on each number alone"

    def _other_activations(self):
        """The arguments that are activations which may not work on columns as on rows."""
        for name in ("activation", "recurrent_activation"):
            if getattr(self, name, keras.activations.tanh) not in ELEMENTWISE_ACTIVATIONS:
                yield name

    def _check_activations(self):
        for name in self._other_activations():
            if getattr(self, name) in OF_A_ROW:
                raise ValueError(
                    f"{name} of {self.name} must work on each number alone, because a step computes columns; "
                    f"received {getattr(self, name).__name__}."
                )

    @property
    def state_size(self) -> int | list[int]:
        """The size of the only state, or a list of sizes, as Keras wants it."""
        return self.state_sizes[0] if len(self.state_sizes) == 1 else list(self.state_sizes)

    @property
    def output_size(self) -> int:
        """The size of the output, which is the first state."""
        return self.state_sizes[0]

    def call(
        self, inputs: tf.Tensor, states: Sequence[tf.Tensor], training: bool = False
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """One step: `(output (B, units), states)`, from inputs (B, D) and the previous states, h first."""
        # Keras's cells take a single state without a list, too.
        is_list = isinstance(states, (list, tuple))
        next_states = self.next_states(self.step_weights(), self.operand(inputs), states if is_list else [states])
        return next_states[0], next_states if is_list else next_states[0]

    def next_states(self, weights: kernels.Weights, inputs: tf.Tensor, states: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The states after one step, (B, size) each, with the weights as arguments."""
        return kernels.run_step(self.recurrence, weights, inputs, states)

    @property
    def raw_weights(self) -> tuple[keras.Variable, keras.Variable, keras.Variable | None]:
        """`(kernel, recurrent_kernel, bias or None)`."""
        return self.kernel, self.recurrent_kernel, self.bias

    def weight_tensors(self, recurrent_dropout_mask: tf.Tensor | None = None) -> kernels.Weights:
        """The weights as the functions of `tfcharlm.kernels` take them.

        Args:
            recurrent_dropout_mask: factors of the recurrent kernel; None (default) for none.
        """
        kernel, recurrent_kernel = map(tf.convert_to_tensor, (self.kernel, self.recurrent_kernel))
        bias = None if self.bias is None else tf.convert_to_tensor(self.bias)
        if recurrent_dropout_mask is not None:
            recurrent_kernel *= tf.cast(recurrent_dropout_mask, recurrent_kernel.dtype)
        parameters = {name: tf.convert_to_tensor(getattr(self, name)) for name in self.parameters}
        return kernels.Weights(kernel, recurrent_kernel, bias, parameters)

    def step_weights(self) -> kernels.Weights:
        """The weights in the compute dtype; parameters as they are."""
        kernel, recurrent_kernel, bias, parameters = self.weight_tensors()
        bias = bias if bias is None else self.operand(bias)
        return kernels.Weights(self.operand(kernel), self.operand(recurrent_kernel), bias, parameters)

    def operand(self, tensor: tf.Tensor | keras.Variable) -> tf.Tensor:
        """A tensor or a variable as a tensor in the compute dtype."""
        return tf.cast(tf.convert_to_tensor(tensor), self.compute_dtype)

    def get_initial_state(self, batch_size: int | tf.Tensor | None = None) -> list[tf.Tensor]:
        """Zeros (batch_size, size) for each state, float32 at least, because a state sums up many small updates."""
        if batch_size is None:
            raise ValueError("batch_size must be a whole number; received None. Type get_initial_state(batch_size=1).")
        dtype = kernels.at_least_float32_dtype(self.compute_dtype)
        return [tf.zeros((batch_size, size), dtype=dtype) for size in self.state_sizes]
