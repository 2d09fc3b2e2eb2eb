"""The cells of this package by their short names. A new cell needs one line here, and one in `tfcharlm/names.py`."""

import keras

from tfcharlm.layers.cells import LSTMCell, RNNCell
from tfcharlm.layers.gru_cell import GRUCell
from tfcharlm.layers.recurrent_cell import RecurrentCell

CELLS: dict[str, type[RecurrentCell]] = {"lstm": LSTMCell, "gru": GRUCell, "rnn": RNNCell}


def why_not_fused(cell: keras.layers.Layer) -> str | None:
    """Why a cell runs in Keras's loop and not in a fused kernel, in one line; None if it has a fused kernel.

    Every `RecurrentCell` has one, unless it has a `call` of its own, or an activation that kernels may not apply.

    Example:

    >>> import keras
    >>> from tfcharlm.layers import LSTMCell, why_not_fused
    >>> why_not_fused(keras.layers.GRUCell(3)), why_not_fused(LSTMCell(3))
    ('GRUCell has no fused kernel, because it is not a tfcharlm.RecurrentCell', None)
    """
    if isinstance(cell, RecurrentCell):
        return cell.why_not_fused
    return f"{type(cell).__name__} has no fused kernel, because it is not a tfcharlm.RecurrentCell"
