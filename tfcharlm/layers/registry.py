"""The cells of this package by their short names. A new cell needs one line here, and no entry in any other table."""

import keras

from tfcharlm.layers.base import BaseRecurrentCell
from tfcharlm.layers.cells import LSTMCell, RNNCell

CELLS: dict[str, type[BaseRecurrentCell]] = {"lstm": LSTMCell, "rnn": RNNCell}


def why_not_fused(cell: keras.layers.Layer) -> str | None:
    """Why a cell runs in Keras's loop and not in a fused kernel, in one line; None if it has a fused kernel.

    A subclass of a cell of this package has no fused kernel: it may compute something else.

    Example:

    >>> import keras
    >>> from tfcharlm.layers import LSTMCell, why_not_fused
    >>> why_not_fused(keras.layers.GRUCell(3)), why_not_fused(LSTMCell(3))
    ('GRUCell has no fused kernel', None)
    """
    if type(cell) not in CELLS.values():
        return f"{type(cell).__name__} has no fused kernel"
    return cell.why_not_fused
