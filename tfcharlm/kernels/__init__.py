"""The recurrent mathematics in TensorFlow: pure functions of (weights, input, state). This room does not know Keras."""

from tfcharlm.kernels.batch_major import run_recurrence
from tfcharlm.kernels.native import native_kernels, why_not_native
from tfcharlm.kernels.precision import MatMul, at_least_float32, at_least_float32_dtype
from tfcharlm.kernels.recurrences import CAPPED_LSTM, LSTM, RNN, Recurrence
from tfcharlm.kernels.shards import available_cores, configure_threads, map_shards, same_shards
from tfcharlm.kernels.show_config import show_config
from tfcharlm.kernels.steps import lstm_step, rnn_step

__all__ = [
    "CAPPED_LSTM",
    "LSTM",
    "RNN",
    "MatMul",
    "Recurrence",
    "at_least_float32",
    "at_least_float32_dtype",
    "available_cores",
    "configure_threads",
    "lstm_step",
    "map_shards",
    "native_kernels",
    "rnn_step",
    "run_recurrence",
    "same_shards",
    "show_config",
    "why_not_native",
]
