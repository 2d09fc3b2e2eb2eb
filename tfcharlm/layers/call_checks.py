"""Checks of what an RNN layer is made of and called with, each an error of one line that says what was expected."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfcharlm.checks import short_repr

OPTIONS_OF_KERAS = ("dropout", "recurrent_dropout", "seed", "implementation")
ARGUMENTS = ("sequences", "initial_state", "mask", "training")


def check_cells(cells: Sequence[Any]) -> None:
    """Raises a ValueError unless there are cells, and all of them are RNN cells and not layers around them."""
    wrong = next((cell for cell in cells if isinstance(cell, keras.layers.RNN)), None)
    if wrong is not None or not cells:
        raise ValueError(
            "cell must be an RNN cell, such as tfcharlm.LSTMCell(5), or a list of them; "
            f"received {'an empty list' if wrong is None else short_repr(wrong)}."
        )


def check_cell_options(name: str, options: Mapping[str, Any]) -> None:
    """Raises a ValueError for an option that Keras's cells have and the cells of this package do not."""
    unknown = next((option for option in OPTIONS_OF_KERAS if option in options), None)
    if unknown:
        raise ValueError(
            f"{name} has no {unknown}; received {unknown}={short_repr(options[unknown])}. Type tfcharlm.CharLM(..., "
            f"dropout=..., weight_drop=...), or use the cell of keras.layers, which has it."
        )
    if options.get("autocast"):
        raise ValueError(f"autocast must be False for {name}, which keeps its states in float32; received True.")


def checked_call(layer: Any, arguments: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name, with a mask of lists as a tensor.

    Args:
        layer: a layer with fused kernels.
        arguments, named: what it is called with.

    Raises:
        ValueError: the sequences, states or mask do not fit the layer or each other.
    """
    check_cells(layer.cells)
    by_position = dict(zip(ARGUMENTS, arguments, strict=False))
    # What is too much or twice is refused by Keras.
    if len(arguments) > len(ARGUMENTS) or by_position.keys() & named.keys():
        return {}
    given = {**by_position, **named}
    if layer.stateful and layer.built and layer.states is None:
        raise ValueError(
            "stateful must be set before the layer is built, or the states be made by layer.build((batch, steps, "
            "input_dim)); received stateful=True, but the layer has no states."
        )
    rows, steps = _check_sequences(layer, given.get("sequences"))
    if given.get("initial_state") is not None:
        _check_states(layer, given["initial_state"], rows)
    if given.get("mask") is not None:
        given["mask"] = _checked_mask(given["mask"], rows, steps)
    return given


def _check_sequences(layer, sequences):
    """The number of rows and of steps, each None if it is not known yet."""
    if isinstance(sequences, tf.RaggedTensor | tf.SparseTensor):
        raise ValueError(
            f"sequences must be a dense tensor (batch, steps, input_dim); received a {type(sequences).__name__}. "
            "Type sequences.to_tensor() and pass a mask."
        )
    shape = _shape(sequences)
    if shape is None:
        return None, None
    width = layer.cells[0].kernel.shape[0] if layer.cells[0].built else None
    if len(shape) != 3 or (width is not None and shape[2] not in (None, width)) or shape[1] == 0:
        expected = f"(batch, steps, {width or 'input_dim'}) with at least one step"
        raise ValueError(f"sequences must have the shape {expected}; received {shape}.")
    dtype = getattr(sequences.dtype, "name", str(sequences.dtype))
    if dtype.startswith(("complex", "str", "bytes", "object")):
        raise ValueError(f"sequences must be real numbers; received {dtype}.")
    return shape[:2]


def _check_states(layer, states, rows):
    sizes = keras.tree.flatten(layer.state_size)
    shapes = [_shape(state) for state in keras.tree.flatten(states)]
    fits = len(shapes) == len(sizes) and all(
        shape is not None and len(shape) == 2 and shape[1] in (None, size) and _same(shape[0], rows)
        for shape, size in zip(shapes, sizes, strict=False)
    )
    if not fits:
        expected = ", ".join(f"({'batch' if rows is None else rows}, {size})" for size in sizes)
        received = ", ".join(map(str, shapes)) if all(shapes) else short_repr(states)
        raise ValueError(f"initial_state must be {len(sizes)} tensors {expected:.80}; received {received:.80}.")


def _checked_mask(mask, rows, steps):
    mask = tf.convert_to_tensor(mask) if isinstance(mask, (list, tuple)) else mask
    shape = _shape(mask)
    if shape is None or keras.backend.is_keras_tensor(mask):
        return mask
    if shape[2:] not in ((), (1,)) or len(shape) < 2 or not _same(shape[0], rows) or not _same(shape[1], steps):
        expected = f"({'batch' if rows is None else rows}, {'steps' if steps is None else steps})"
        raise ValueError(f"mask must be None or bool {expected}; received the shape {shape}.")
    return mask


def _same(size, expected):
    """Whether two sizes can be the same; one row may stand for all."""
    return None in (size, expected) or size in (1, expected)


def _shape(tensor):
    """The shape as a tuple, None where it is not known; None for what is no tensor or has no known rank."""
    shape = getattr(tensor, "shape", None)
    try:
        return None if shape is None else tuple(shape)
    except (TypeError, ValueError):
        return None
