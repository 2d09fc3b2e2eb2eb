"""What a configuration says of layers besides their arguments: which are frozen, and which cells are built."""

from collections.abc import Sequence
from typing import Any

import keras


def frozen_layers(model: keras.Model) -> list[str]:
    """The names of the layers with `trainable = False`. Cells and the model keep this flag in configs of their own."""
    return [layer.name for layer in model.layers if not layer.trainable]


def freeze_layers(model: keras.Model, names: Sequence[str]) -> None:
    """Sets `trainable = False` for the named layers, and leaves the flags of their cells as they are.

    Args:
        model: a model whose layers have just been made.
        names: as `frozen_layers` returned them.

    Raises:
        ValueError: there is no layer of that name.
    """
    # A layer passes its flag down to its cell, and a stack of cells to the cells in it.
    below = [cell for layer in model.layers for cell in _cells(layer)]
    flags = [cell.trainable for cell in below]
    for name in names:
        model.get_layer(name).trainable = False
    for cell, flag in zip(below, flags, strict=True):
        cell.trainable = flag


def unbuilt(cell: Any) -> Any:
    """The serialized cell without the shapes that it was built for, nor those of cells inside it.

    Keras would build the cell by itself, and the paths of its weights would lack the names of the model and the layer.
    """
    if isinstance(cell, (list, tuple)):
        return type(cell)(map(unbuilt, cell))
    if not isinstance(cell, dict):
        return cell
    return {key: unbuilt(value) for key, value in cell.items() if key != "build_config" or "class_name" not in cell}


def _cells(layer):
    """The cell of a recurrent layer, then what is stacked in it, top down."""
    return [layer.cell, *layer.cells] if isinstance(layer, keras.layers.RNN) else []
