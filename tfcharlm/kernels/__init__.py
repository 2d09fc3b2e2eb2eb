"""The recurrent mathematics in TensorFlow, as pure functions of (weights, input, state). No Keras here."""

from tfcharlm.kernels.chains import available_cores, configure_threads, in_chains
from tfcharlm.kernels.run import run_recurrence
from tfcharlm.kernels.steps import lstm_step, rnn_step

__all__ = ["available_cores", "configure_threads", "in_chains", "lstm_step", "rnn_step", "run_recurrence"]
