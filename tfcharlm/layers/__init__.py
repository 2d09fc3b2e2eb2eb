"""Keras layers around `tfcharlm.kernels`: they own weights and nothing else."""

from tfcharlm.layers.cells import LSTMCell, RNNCell
from tfcharlm.layers.rnn import RNN

__all__ = ["RNN", "LSTMCell", "RNNCell"]
