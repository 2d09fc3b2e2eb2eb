"""The recurrent mathematics in TensorFlow: pure functions of (weights, input, state). This room does not know Keras."""

from tfcharlm.kernels.batch_major import run_recurrence
from tfcharlm.kernels.equations import CAPPED_LSTM, GRU, LSTM, RNN, gru_equation, lstm_equation, rnn_equation
from tfcharlm.kernels.native import native_kernels, why_not_native, why_portable
from tfcharlm.kernels.precision import MatMul, at_least_float32, at_least_float32_dtype
from tfcharlm.kernels.recording import record_values
from tfcharlm.kernels.recurrences import Recurrence, StepGradient
from tfcharlm.kernels.shards import available_cores, configure_threads, map_shards, same_shards
from tfcharlm.kernels.show_config import show_config
from tfcharlm.kernels.steps import run_step
from tfcharlm.kernels.weights import Weights

__all__ = [
    "CAPPED_LSTM",
    "GRU",
    "LSTM",
    "RNN",
    "MatMul",
    "Recurrence",
    "StepGradient",
    "Weights",
    "at_least_float32",
    "at_least_float32_dtype",
    "available_cores",
    "configure_threads",
    "gru_equation",
    "lstm_equation",
    "map_shards",
    "native_kernels",
    "record_values",
    "rnn_equation",
    "run_recurrence",
    "run_step",
    "same_shards",
    "show_config",
    "why_not_native",
    "why_portable",
]
