"""The weights of a cell: raw matrices, created, regularized and serialized as in Keras."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import keras

from tfcharlm.checks import POSITIVE_INTEGER, short_repr
from tfcharlm.kernels import at_least_float32_dtype
from tfcharlm.layers.call_checks import check_cell_options


class Parameter(NamedTuple):
    """A weight that a cell has besides its matrices and its bias.

    Args:
        shape: (n,) or (n, m).
        initializer: name or object; "zeros" by default.
        regularizer, constraint: as in `keras.layers.Layer.add_weight`; none by default.

    Example:

    >>> import tfcharlm
    >>> tfcharlm.Parameter((5,)).initializer, tfcharlm.Parameter((5, 3), "glorot_uniform").shape
    ('zeros', (5, 3))
    """

    shape: tuple[int, ...]
    initializer: Any = "zeros"
    regularizer: Any = None
    constraint: Any = None


class CellWithWeights(keras.layers.Layer):
    """The part of `RecurrentCell` that owns weights; see there for its arguments."""

    num_blocks: ClassVar[int] = 1
    num_recurrent_blocks: ClassVar[int | None] = None
    state_names: ClassVar[tuple[str, ...]] = ("h",)
    # The constructor arguments that a cell adds, each "activation" or "boolean".
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
    def state_sizes(self) -> tuple[int, ...]:
        """The sizes of the states, in the order of `state_names`."""
        return (self.units,) * len(self.state_names)

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The weights besides the matrices and the bias, by name."""
        return {}

    def weight_shapes(self, input_dim: int) -> dict[str, tuple[int, ...]]:
        """The shapes of all weights by name, in their order, for inputs (..., input_dim)."""
        shapes: dict[str, tuple[int, ...]] = {
            "kernel": (input_dim, self.num_blocks * self.units),
            "recurrent_kernel": (self.state_sizes[0], (self.num_recurrent_blocks or self.num_blocks) * self.units),
        }
        if self.use_bias:
            shapes["bias"] = (self.num_blocks * self.units,)
        return shapes | {name: parameter.shape for name, parameter in self.parameters.items()}

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights for inputs of shape (..., D)."""
        matrices = {
            "kernel": (self.kernel_initializer, self.kernel_regularizer, self.kernel_constraint),
            "recurrent_kernel": (self.recurrent_initializer, self.recurrent_regularizer, self.recurrent_constraint),
            "bias": (self._initial_bias, self.bias_regularizer, self.bias_constraint),
        }
        self.bias = None
        for name in self.parameters:
            if name in matrices or hasattr(self, name):
                raise ValueError(
                    f"parameters of {type(self).__name__} must have other names than what a cell has already; "
                    f"received {name!r}."
                )
        for name, shape in self.weight_shapes(int(input_shape[-1] or 0)).items():
            initializer, regularizer, constraint = matrices.get(name) or self.parameters[name][1:]
            variable = self.add_weight(
                shape=shape,
                name=name,
                initializer=_rounded(keras.initializers.get(initializer)),
                regularizer=keras.regularizers.get(regularizer),
                constraint=keras.constraints.get(constraint),
                autocast=False,  # kernels round it themselves
            )
            setattr(self, name, variable)

    def _initial_bias(self, shape, dtype=None):
        # What `add_weight` makes of None.
        return (self.bias_initializer or keras.initializers.GlorotUniform())(shape, dtype=dtype)

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
