"""Keras layers around `tfcharlm.kernels`. They own weights and nothing else."""

from tfcharlm.layers.cell_weights import Parameter
from tfcharlm.layers.cells import LSTMCell, RNNCell
from tfcharlm.layers.gru_cell import GRUCell
from tfcharlm.layers.recurrent_cell import RecurrentCell
from tfcharlm.layers.registry import CELLS, why_not_fused
from tfcharlm.layers.rnn import RNN
from tfcharlm.layers.wiring import TOKENS, Wiring

__all__ = [
    "CELLS",
    "RNN",
    "TOKENS",
    "GRUCell",
    "LSTMCell",
    "Parameter",
    "RNNCell",
    "RecurrentCell",
    "Wiring",
    "why_not_fused",
]
