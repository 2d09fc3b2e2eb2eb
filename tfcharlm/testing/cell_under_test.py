"""The cell that is checked, as copies and random data: the cell itself is never built and never changed."""

import contextlib
import copy
import inspect

import keras
import numpy as np
import tensorflow as tf

BATCH, TIME, INPUT_DIM = 3, 5, 7
# So many rows that a ReLU is not off in all of them, as if it depended on nothing.
MANY = 16


class CellUnderTest:
    """Somebody's cell, and what the checks make of it.

    Attributes:
        cell: the cell, to be read.
        dtype: in which most checks run. float64, where rounding is no excuse; float32 if the cell cannot do it.
        rng: from which a check draws its data; seeded anew for every check, so that none depends on another.
    """

    def __init__(self, cell, input_dim=None, seed=0, reference_cell=None):
        self.cell, self.reference_cell, self.seed = cell, reference_cell, seed
        self.input_dim = _input_dim(cell, input_dim)
        self.dtype = "float64"
        self.restart()
        self._arrays = None

    def restart(self):
        self.rng = np.random.default_rng(self.seed)

    def copy(self, dtype=None, of=None):
        """A built copy with this dtype policy and with the weights that all copies have."""
        twin = rebuild(of or self.cell, dtype or self.dtype)
        # A frozen cell has no trainable weights; its gradients should be right all the same.
        twin.trainable = True
        self.build(twin)
        if of is None:
            self.assign(twin, self.arrays(twin))
        return twin

    def build(self, twin):
        if type(twin).build is keras.layers.Layer.build:
            # Layers within it build themselves at their first call.
            dtype = twin.compute_dtype
            call(twin, self.inputs(1, None, dtype), self.states(1, dtype))
        elif not twin.built:
            twin.build((None, self.input_dim))

    def arrays(self, twin):
        """The weights of all copies: the initial values, since a weight may have a range of its own, and noise.

        Zeros, as in a bias, would hide that two of them are swapped.
        """
        if self._arrays is None:
            self._arrays = self.noisy(twin, np.random.default_rng(self.seed))
        return self._arrays

    def noisy(self, twin, rng):
        """The trainable weights of a copy, changed a little in every entry."""
        values = [tf.convert_to_tensor(v).numpy().astype(np.float64) for v in twin.trainable_variables]
        return [v + 0.5 * rng.normal(size=v.shape) / max(1, v[..., 0].size) ** 0.5 for v in map(np.atleast_1d, values)]

    def assign(self, twin, arrays):
        for variable, array in zip(twin.trainable_variables, arrays, strict=True):
            variable.assign(np.reshape(array, variable.shape))

    def layer(self, wrapper, dtype=None, **arguments):
        """A copy in a wrapper (`keras.layers.RNN` or a subclass) that returns sequences and states."""
        dtype = dtype or self.dtype
        layer = wrapper(self.copy(dtype), return_sequences=True, return_state=True, dtype=dtype, **arguments)
        layer.build((None, None, self.input_dim))
        return layer

    def inputs(self, batch=BATCH, time=TIME, dtype=None):
        """(batch, time, input_dim), or (batch, input_dim) if time is None."""
        return self.random((batch, self.input_dim) if time is None else (batch, time, self.input_dim), dtype)

    def states(self, batch=BATCH, dtype=None):
        """Random states, nested as a wrapper hands them to a cell."""
        sizes = self.cell.state_size
        sizes = list(sizes) if keras.tree.is_nested(sizes) else [sizes]
        return keras.tree.map_structure(lambda size: self.random((batch, size), dtype), sizes)

    def random(self, shape, dtype=None):
        return tf.constant(self.rng.normal(size=shape), dtype or self.dtype)


def rebuild(cell, dtype=None):
    """`from_config(get_config())`, with another dtype policy if there is one."""
    config = copy.deepcopy(cell.get_config())
    with unregistered_scope(cell):
        if dtype is None:
            return type(cell).from_config(config)
        with _default_dtype(dtype):
            return type(cell).from_config(_with_dtype(config, dtype))


def call(cell, inputs, states, training=False):
    """One step: `(output, states)`, nested as they came; `training` goes to cells that take it, as wrappers do."""
    takes_training = "training" in inspect.signature(cell.call).parameters
    output, after = cell(inputs, states, **({"training": training} if takes_training else {}))
    return output, keras.tree.pack_sequence_as(states, keras.tree.flatten(after))


def steps(cell, inputs, states):
    """The plainest loop: one call of the cell after the other, `(outputs (B, T, units), states)`."""
    outputs = []
    for t in range(inputs.shape[1]):
        output, states = call(cell, inputs[:, t], states)
        outputs.append(output)
    return tf.stack(outputs, axis=1), states


def family(cell):
    """The cell, and the cells that it is a stack of."""
    return [cell, *(one for inner in getattr(cell, "cells", ()) for one in family(inner))]


def unregistered(cell):
    """Classes that `keras.saving` cannot find by name."""
    classes = {type(one) for one in family(cell) if not type(one).__module__.startswith("keras.")}
    names = {one: keras.saving.get_registered_name(one) for one in classes}
    return [one for one, name in names.items() if keras.saving.get_registered_object(name) is not one]


def unregistered_scope(cell):
    return keras.saving.custom_object_scope({one.__name__: one for one in unregistered(cell)})


@contextlib.contextmanager
def left_alone(cell):
    """The cell's attributes are afterwards what they were, such as the dropout masks that Keras's cells keep."""
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
    """A configuration in which every dtype policy, those of inner cells too, is this one."""
    if isinstance(config, list | tuple):
        return type(config)(_with_dtype(value, dtype) for value in config)
    if not isinstance(config, dict):
        return config
    return {key: dtype if key == "dtype" else _with_dtype(value, dtype) for key, value in config.items()}


def _input_dim(cell, input_dim):
    """The argument, the size that a built cell was built for, or the default."""
    if not cell.built:
        return input_dim or INPUT_DIM
    shapes = cell.get_build_config() or {}
    shape = shapes.get("input_shape") or next(iter(shapes.get("shapes_dict", {}).values()), None)
    if shape is None and input_dim is None:
        raise ValueError(f"{cell.name} does not say for what input it was built; give check_cell(cell, input_dim=...).")
    if shape is not None and input_dim not in (None, shape[-1]):
        raise ValueError(f"{cell.name} was built for inputs of size {shape[-1]}; received input_dim={input_dim}.")
    return input_dim or shape[-1]
