"""The cells of this package by their short names. A new cell needs its line here and nothing else in a table."""

from tfcharlm.layers.base import BaseRecurrentCell
from tfcharlm.layers.cells import LSTMCell, RNNCell

CELLS: dict[str, type[BaseRecurrentCell]] = {"lstm": LSTMCell, "rnn": RNNCell}


def why_not_fused(cell):
    """Why a cell runs in Keras's loop and not in a fused kernel, in one line; None if it has a fused kernel.

    A subclass counts as a cell of its own: it may compute something else.
    """
    if type(cell) not in CELLS.values():
        return f"{type(cell).__name__} has no fused kernel"
    return cell.why_not_fused
