"""Checks for anybody's RNN cell: the contract with Keras, serialisation, masks, gradients, and tfcharlm.RNN."""

from tfcharlm.testing.check import check_cell
from tfcharlm.testing.report import CellError, Report, Result

__all__ = ["CellError", "Report", "Result", "check_cell"]
