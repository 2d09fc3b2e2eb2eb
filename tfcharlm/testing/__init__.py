"""Checks for any RNN cell: its contract with Keras, serialization, masks, gradients, and its use in `tfcharlm.RNN`."""

from tfcharlm.testing.check import check_cell
from tfcharlm.testing.report import CellError, CheckReport, Result

__all__ = ["CellError", "CheckReport", "Result", "check_cell"]
