"""Cells whose step is known, whoever made them: for formats that write the step down."""

from collections.abc import Iterable, Iterator

import keras

from tfcharlm.artefact.layout import SAME_ARRAYS
from tfcharlm.layers import RecurrentCell


def known_cells(cells: Iterable[keras.layers.Layer]) -> Iterator[RecurrentCell]:
    """The cells, one of Keras as the cell of this package that computes the same.

    Args:
        cells: built cells.

    Raises:
        ValueError: there is a cell that is neither a `RecurrentCell` nor one of Keras with the same arrays as one.
    """
    for cell in cells:
        twin = SAME_ARRAYS.get(type(cell))
        if twin is None and not isinstance(cell, RecurrentCell):
            known = ", ".join(sorted(kind.__name__ for kind in SAME_ARRAYS))
            raise ValueError(
                f"a cell for this format must be a tfcharlm.RecurrentCell, or one of keras.layers: {known}; "
                f"received {type(cell).__name__}."
            )
        if twin is None:
            if type(cell).call is not RecurrentCell.call:
                name = type(cell).__name__
                raise ValueError(
                    f"{name} for this format must compute in step only; received one with a call of its own."
                )
            yield cell
            continue
        options = cell.get_config()
        same = twin(cell.units)
        same = twin.from_config({name: options.get(name, value) for name, value in same.get_config().items()})
        same.build((None, cell.kernel.shape[0]))
        same.set_weights(cell.get_weights())
        yield same
