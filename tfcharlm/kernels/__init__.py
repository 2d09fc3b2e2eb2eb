"""The recurrent mathematics in TensorFlow, as pure functions of (weights, input, state). No Keras here."""

from tfcharlm.kernels.steps import lstm_step, rnn_step

__all__ = ["lstm_step", "rnn_step"]
