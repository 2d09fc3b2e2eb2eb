"""CellUnderTest: copies of a cell, and random data for them. The cell itself is never built and never changed."""

import contextlib
import copy
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

BATCH, TIME, INPUT_DIM = 3, 5, 7
# With this many rows, a ReLU is not off in all of them, as if it depended on nothing.
MANY = 16


class CellUnderTest:
    """A cell, and what the checks need to work on it.

    Attributes:
        cell: the cell; it is only read.
        dtype: the dtype of most checks: float64, where rounding explains no difference; float32 if the cell cannot
            compute in float64.
        rng: the generator for the data of a check. It is seeded again before every check, so that no check depends on
            another.
    """

    def __init__(self, cell: Any, input_dim: int | None = None, seed: int = 0, reference_cell: Any = None) -> None:
        self.cell, self.reference_cell, self.seed = cell, reference_cell, seed
        self.input_dim = _input_dim(cell, input_dim)
        self.dtype = "float64"
        self.restart()
        self._arrays: list[np.ndarray] | None = None

    def restart(self) -> None:
        """Seeds the random generator again."""
        self.rng = np.random.default_rng(self.seed)

    def copy(self, dtype: str | None = None, of: Any = None) -> Any:
        """A built copy with this dtype policy, and with the same weights as all other copies."""
        twin = rebuild(of or self.cell, dtype or self.dtype)
        # A frozen cell has no trainable weights, but its gradients should still be right.
        twin.trainable = True
        self.build(twin)
        if of is None:
            self.assign(twin, self.arrays(twin))
        return twin

    def build(self, twin: Any) -> None:
        """Builds a copy for inputs of size `input_dim`."""
        if type(twin).build is keras.layers.Layer.build:
            # The layers inside it build themselves at their first call.
            dtype = twin.compute_dtype
            call(twin, self.inputs(1, None, dtype), self.states(1, dtype))
        elif not twin.built:
            twin.build((None, self.input_dim))

    def arrays(self, twin: Any) -> list[np.ndarray]:
        """The weights of all copies: their initial values, because a weight may have a range of its own, plus noise.

        Without noise, the zeros of a bias would hide that two of its parts are swapped.
        """
        if self._arrays is None:
            self._arrays = self.noisy(twin, np.random.default_rng(self.seed))
        return self._arrays

    def noisy(self, twin: Any, rng: np.random.Generator) -> list[np.ndarray]:
        """The trainable weights of a copy, with a little noise in every entry."""
        values = [tf.convert_to_tensor(v).numpy().astype(np.float64) for v in twin.trainable_variables]
        return [v + 0.5 * rng.normal(size=v.shape) / max(1, v[..., 0].size) ** 0.5 for v in map(np.atleast_1d, values)]

    def assign(self, twin: Any, arrays: Sequence[np.ndarray]) -> None:
        """Sets the trainable weights of a copy."""
        for variable, array in zip(twin.trainable_variables, arrays, strict=True):
            variable.assign(np.reshape(array, variable.shape))

    def layer(self, wrapper: type[keras.layers.RNN], dtype: str | None = None, **arguments: Any) -> Any:
        """A copy in a wrapper (`keras.layers.RNN` or a subclass) that returns sequences and states."""
        dtype = dtype or self.dtype
        layer = wrapper(self.copy(dtype), return_sequences=True, return_state=True, dtype=dtype, **arguments)
        layer.build((None, None, self.input_dim))
        return layer

    def inputs(self, batch: int = BATCH, time: int | None = TIME, dtype: str | None = None) -> tf.Tensor:
        """Random inputs (batch, time, input_dim), or (batch, input_dim) if time is None."""
        return self.random((batch, self.input_dim) if time is None else (batch, time, self.input_dim), dtype)

    def states(self, batch: int = BATCH, dtype: str | None = None) -> Any:
        """Random states, nested as a wrapper passes them to a cell."""
        sizes = self.cell.state_size
        sizes = list(sizes) if keras.tree.is_nested(sizes) else [sizes]
        return keras.tree.map_structure(lambda size: self.random((batch, size), dtype), sizes)

    def random(self, shape: Sequence[int], dtype: str | None = None) -> tf.Tensor:
        """Normally distributed numbers."""
        return tf.constant(self.rng.normal(size=shape), dtype or self.dtype)


def rebuild(cell: Any, dtype: str | None = None) -> Any:
    """`from_config(get_config())`, with another dtype policy if one is given."""
    config = copy.deepcopy(cell.get_config())
    with unregistered_scope(cell):
        if dtype is None:
            return type(cell).from_config(config)
        with _default_dtype(dtype):
            return type(cell).from_config(_with_dtype(config, dtype))


def call(cell: Any, inputs: tf.Tensor, states: Any, training: bool = False) -> tuple[tf.Tensor, Any]:
    """One step: `(output, states)`, nested like the argument. As in wrappers, `training` goes to cells that take it."""
    takes_training = "training" in inspect.signature(cell.call).parameters
    output, after = cell(inputs, states, **({"training": training} if takes_training else {}))
    return output, keras.tree.pack_sequence_as(states, keras.tree.flatten(after))


def steps(cell: Any, inputs: tf.Tensor, states: Any) -> tuple[tf.Tensor, Any]:
    """The plainest loop, one call of the cell after the other: `(outputs (B, T, units), states)`."""
    outputs = []
    for t in range(inputs.shape[1]):
        output, states = call(cell, inputs[:, t], states)
        outputs.append(output)
    return tf.stack(outputs, axis=1), states


def family(cell: Any) -> list:
    """The cell and, if it is a stack, the cells inside it."""
    return [cell, *(one for inner in getattr(cell, "cells", ()) for one in family(inner))]


def unregistered(cell: Any) -> list[type]:
    """The classes of a cell that `keras.saving` cannot find by name."""
    classes = {type(one) for one in family(cell) if not type(one).__module__.startswith("keras.")}
    names = {one: keras.saving.get_registered_name(one) for one in classes}
    return [one for one, name in names.items() if keras.saving.get_registered_object(name) is not one]


def unregistered_scope(cell: Any) -> Any:
    """A context in which `keras.saving` finds the classes of a cell."""
    return keras.saving.custom_object_scope({one.__name__: one for one in unregistered(cell)})


@contextlib.contextmanager
def left_alone(cell: Any) -> Iterator[None]:
    """Restores the cell's attributes at the end, such as the dropout masks that Keras's cells keep."""
    before = [(one, dict(vars(one))) for one in family(cell)]
    try:
        yield
    finally:
        for one, attributes in before:
            vars(one).clear()
            vars(one).update(attributes)


@contextlib.contextmanager
def _default_dtype(dtype):
    """For cells whose arguments do not take a dtype."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _with_dtype(config, dtype):
    """The configuration with every dtype policy replaced by this one, also those of inner cells."""
    if isinstance(config, list | tuple):
        return type(config)(_with_dtype(value, dtype) for value in config)
    if not isinstance(config, dict):
        return config
    return {key: dtype if key == "dtype" else _with_dtype(value, dtype) for key, value in config.items()}


def _input_dim(cell, input_dim):
    """The argument, else the input size that a built cell was built for, else the default."""
    if not cell.built:
        return input_dim or INPUT_DIM
    shapes = cell.get_build_config() or {}
    shape = shapes.get("input_shape") or next(iter(shapes.get("shapes_dict", {}).values()), None)
    if shape is None and input_dim is None:
        raise ValueError(
            f"{cell.name} does not record the size of its inputs; give it with check_cell(cell, input_dim=...)."
        )
    if shape is not None and input_dim not in (None, shape[-1]):
        raise ValueError(f"input_dim must be {shape[-1]}, for which {cell.name} was built; received {input_dim}.")
    return input_dim or shape[-1]
