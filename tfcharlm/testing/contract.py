"""Checks of what Keras's wrappers expect of a cell: sizes, shapes, dtypes, and a state that is passed and returned.

The docstring of a check is the line that the report shows.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcharlm.testing.cell_under_test import BATCH, MANY, CellUnderTest, call, steps
from tfcharlm.testing.comparison import TOLERANCE, agree, compare, values_of
from tfcharlm.testing.report import MismatchError


def attributes(subject: CellUnderTest) -> str | None:
    """state_size and output_size are sizes"""
    _check_sizes(subject.cell)
    if getattr(subject.cell, "output_size", None) is None:
        return "there is no output_size, so wrappers take the first size of state_size"
    return None


def _check_sizes(cell):
    sizes = getattr(cell, "state_size", None)
    if not _is_size(sizes) and not (isinstance(sizes, list | tuple) and all(map(_is_size, keras.tree.flatten(sizes)))):
        raise MismatchError(
            f"state_size = {sizes!r}",
            "a positive int, or a list with one per state",
            "self.state_size in __init__, or the property state_size",
        )
    size = getattr(cell, "output_size", None)
    if size is not None and not _is_size(size):
        raise MismatchError(
            f"output_size = {size!r} of type {type(size).__name__}",
            "a positive int",
            "self.output_size in __init__, or the property output_size; keras.layers.RNN accepts only an int",
        )


def _is_size(size):
    return isinstance(size, int) and not isinstance(size, bool) and size > 0


def call_shapes(subject: CellUnderTest) -> str | None:
    """a call returns (output, states) with the shapes that the sizes declare"""
    cell = subject.copy("float32")
    _check_sizes(cell)
    for batch in (1, 2, BATCH):
        states = subject.states(batch, "float32")
        returned = cell(subject.inputs(batch, None, "float32"), states)
        if not isinstance(returned, list | tuple) or len(returned) != 2:
            raise MismatchError(f"a {type(returned).__name__}", "the pair (output, states)", "what call returns")
        output, new_states = returned
        if tuple(output.shape) != (batch, output_size(cell)):
            raise MismatchError(
                f"an output of shape {tuple(output.shape)} for {batch} rows",
                (batch, output_size(cell)),
                "output_size, and the output that call returns",
            )
        if shapes(new_states) != shapes(states):
            raise MismatchError(
                f"states of shapes {shapes(new_states)} for {batch} rows",
                f"{shapes(states)}, as state_size = {cell.state_size} declares",
                "state_size, and the states that call returns",
            )
    if isinstance(new_states, tuple):
        return "the states are in a tuple, which Keras's loop cannot mask if the cell is in a stack; a list is safe"
    return None


def initial_state(subject: CellUnderTest) -> str | None:
    """get_initial_state returns states of the same shapes, in the compute dtype"""
    if not hasattr(subject.cell, "get_initial_state"):
        return "there is no get_initial_state, so wrappers start from zeros"
    hint = "get_initial_state(batch_size), which can use self.compute_dtype and self.state_size"
    for dtype in ("float32", "float64"):
        cell = subject.copy(dtype)
        for batch in (1, BATCH):
            states = cell.get_initial_state(batch_size=batch)
            expected = shapes(subject.states(batch))
            if shapes(states) != expected:
                raise MismatchError(f"shapes {shapes(states)} for batch_size={batch}", expected, hint)
            dtypes = {keras.backend.standardize_dtype(state.dtype) for state in keras.tree.flatten(states)}
            if dtypes != {dtype}:
                raise MismatchError(f"{', '.join(sorted(dtypes))} under the policy {dtype}", dtype, hint)
    return None


def dtype_policy(subject: CellUnderTest) -> None:
    """the cell computes in float32 and float64 if it is told to, and mixed_bfloat16 runs"""
    for dtype in ("float32", "float64"):
        cell = subject.copy(dtype)
        dtypes = {f"weight {weight.name}": weight.dtype for weight in cell.trainable_variables}
        output, states = call(cell, subject.inputs(2, None, dtype), subject.states(2, dtype))
        dtypes["output"] = output.dtype
        dtypes |= {f"state {k}": state.dtype for k, state in enumerate(keras.tree.flatten(states))}
        for name, received in dtypes.items():
            if keras.backend.standardize_dtype(received) != dtype:
                received = keras.backend.standardize_dtype(received)
                raise MismatchError(
                    f"{name} in {received} under the policy {dtype}",
                    dtype,
                    "a cast or a constant in call; dtype= in add_weight; **kwargs, which must reach Layer.__init__",
                )
    _check_precision(subject)
    _check_bfloat16(subject)


def _check_precision(subject, delta=1e-8):
    """Doubling a tiny change must double the difference. In float32, whose numbers are 6e-8 apart, it does not."""
    cell, x, states = subject.copy("float64"), subject.inputs(2, None, "float64"), subject.states(2, "float64")
    weights = [np.reshape(a, w.shape) for a, w in zip(subject.arrays(cell), cell.trainable_variables, strict=True)]
    point = [*weights, x.numpy(), *(state.numpy() for state in keras.tree.flatten(states))]
    direction = [subject.rng.normal(size=array.shape) for array in point]

    def results_at(step):
        moved = [a + step * d for a, d in zip(point, direction, strict=True)]
        subject.assign(cell, moved[: len(weights)])
        moved_states = keras.tree.pack_sequence_as(states, [tf.constant(state) for state in moved[len(weights) + 1 :]])
        return np.concatenate(
            [value.ravel() for value in values_of(*call(cell, tf.constant(moved[len(weights)]), moved_states)).values()]
        )

    narrow, wide = (np.linalg.norm(results_at(d) - results_at(-d)) for d in (delta, 2 * delta))
    difference = np.linalg.norm(
        results_at(2 * delta) - results_at(-2 * delta) - 2 * (results_at(delta) - results_at(-delta))
    )
    if not difference <= 1e-3 * wide:
        raise MismatchError(
            f"changes of {narrow:.3e} and {wide:.3e} when the arguments move by {delta:.0e} and {2 * delta:.0e}",
            "the second to be twice the first, in every entry, in float64",
            "a cast to float32 in call, or in a function that it calls",
        )


def _check_bfloat16(subject):
    layer = subject.layer(keras.layers.RNN, "mixed_bfloat16")
    for name, value in values_of(*_split(layer(subject.inputs(dtype="float32")))).items():
        if not np.all(np.isfinite(value.astype(np.float32))):
            raise MismatchError(
                f"{name} with NaN or infinity under mixed_bfloat16", "finite numbers", "exp, log or a division in call"
            )
    dtypes = {weight.dtype for weight in layer.trainable_variables}
    if dtypes - {"float32"}:
        listed = " and ".join(sorted(dtypes))
        raise MismatchError(f"weights in {listed} under mixed_bfloat16", "float32", "dtype= in add_weight")


def hidden_state(subject: CellUnderTest) -> None:
    """a call depends on its arguments only, not on earlier calls"""
    cell, x, states = subject.copy(), subject.inputs(time=None), subject.states()
    first = values_of(*call(cell, x, states))
    call(cell, subject.inputs(time=None), subject.states())
    hint = "what call keeps on self or in a variable; it must be a state that is passed in and returned"
    compare(values_of(*call(cell, x, states)), first, TOLERANCE[subject.dtype], hint, "the same call repeated: ")


def state_returned(subject: CellUnderTest) -> None:
    """every returned state is a new one"""
    cell, states = subject.copy(), subject.states(MANY)
    _, new_states = steps(cell, subject.inputs(MANY, time=2), states)
    for k, (old, new) in enumerate(zip(keras.tree.flatten(states), keras.tree.flatten(new_states), strict=True)):
        if np.array_equal(old, new):
            raise MismatchError(
                f"state {k} unchanged after two steps",
                "a state that changes with random inputs",
                "the states that call returns, which must be the new ones",
            )


def state_used(subject: CellUnderTest) -> None:
    """every state that is passed in makes a difference"""
    cell, x, states = subject.copy(), subject.inputs(MANY, time=2), subject.states(MANY)
    flat = keras.tree.flatten(states)
    expected = values_of(*steps(cell, x, states))
    for k in range(len(flat)):
        other = [*flat[:k], flat[k] + subject.random(flat[k].shape), *flat[k + 1 :]]
        received = values_of(*steps(cell, x, keras.tree.pack_sequence_as(states, other)))
        if agree(received, expected, TOLERANCE[subject.dtype]):
            raise MismatchError(
                f"the same outputs and states from two values of state {k}",
                "a difference",
                f"call, which must read states[{k}], or state_size, which may have one state too many",
            )


def rows(subject: CellUnderTest) -> None:
    """the rows of a batch are independent"""
    cell, x, states = subject.copy(), subject.inputs(time=2), subject.states()
    together = values_of(*steps(cell, x, states))
    hint = "an operation over the batch axis in call: a mean, a norm, a softmax, a reshape"
    order = [2, 0, 1]
    permuted = values_of(*steps(cell, tf.gather(x, order), _rows(states, order)))
    expected = {name: value[order] for name, value in together.items()}
    compare(permuted, expected, TOLERANCE[subject.dtype], hint, "with the rows in another order, ")
    for row in range(BATCH):
        alone = values_of(*steps(cell, x[row : row + 1], _rows(states, [row])))
        expected = {name: value[row : row + 1] for name, value in together.items()}
        compare(alone, expected, TOLERANCE[subject.dtype], hint, f"row {row} alone: ")


def output_size(cell: Any) -> int:
    """The size of a cell's output, as Keras's wrappers find it."""
    size = getattr(cell, "output_size", None)
    return keras.tree.flatten(cell.state_size)[0] if size is None else size


def shapes(structure: Any) -> str:
    """The shapes of nested tensors. As in Keras, a list of one tensor counts as the tensor."""
    if not isinstance(structure, list | tuple):
        return str(tuple(structure.shape))
    inner = [shapes(part) for part in structure]
    return inner[0] if len(inner) == 1 else f"[{', '.join(inner)}]"


def _rows(states, order):
    return keras.tree.map_structure(lambda state: tf.gather(state, order), states)


def _split(results):
    return results[0], list(results[1:])
