"""Keras layers around `tfcharlm.kernels`. They own weights and nothing else."""

from tfcharlm.layers.base import BaseRecurrentCell
from tfcharlm.layers.cells import LSTMCell, RNNCell
from tfcharlm.layers.registry import CELLS, why_not_fused
from tfcharlm.layers.rnn import RNN

__all__ = ["CELLS", "RNN", "BaseRecurrentCell", "LSTMCell", "RNNCell", "why_not_fused"]
