"""The mathematics of a character language model in NumPy: forward, backward, and how to check it.

Read `activations`, `rnn`, `lstm`, `gru`, `parameters`, `model`, `sampling` in this order: each adds one idea. Every
gradient is derived by hand, beside the equation that it comes from. Everything is float64 and batch-major, and a pure
function of its arguments. It does not use TensorFlow. The code is plain, and slow. The
rest of the package is tested against this folder and never imports it: code that the product uses cannot verify the
product.
"""

from tfcharlm.reference.activations import (
    cross_entropy,
    log_softmax,
    sigmoid,
    sigmoid_derivative,
    softmax,
    tanh,
    tanh_derivative,
)
from tfcharlm.reference.conversion import fuse_gates, fuse_matrices, split_gates, split_matrices
from tfcharlm.reference.gradcheck import (
    check_gradient,
    directional_derivative,
    numerical_gradient,
    relative_error,
)
from tfcharlm.reference.gru import GRUWeights, gru_backward, gru_forward, gru_step
from tfcharlm.reference.lstm import LSTMWeights, lstm_backward, lstm_forward, lstm_step
from tfcharlm.reference.model import initial_state, loss_and_gradients, step, step_backward
from tfcharlm.reference.optimizers import (
    adagrad,
    adam,
    clip_by_global_norm,
    clip_by_value,
    rmsprop,
    sgd,
)
from tfcharlm.reference.parameters import Parameters, random_parameters
from tfcharlm.reference.rnn import RNNWeights, rnn_backward, rnn_forward, rnn_step
from tfcharlm.reference.sampling import sample

__all__ = [
    "GRUWeights",
    "LSTMWeights",
    "Parameters",
    "RNNWeights",
    "adagrad",
    "adam",
    "check_gradient",
    "clip_by_global_norm",
    "clip_by_value",
    "cross_entropy",
    "directional_derivative",
    "fuse_gates",
    "fuse_matrices",
    "gru_backward",
    "gru_forward",
    "gru_step",
    "initial_state",
    "log_softmax",
    "loss_and_gradients",
    "lstm_backward",
    "lstm_forward",
    "lstm_step",
    "numerical_gradient",
    "random_parameters",
    "relative_error",
    "rmsprop",
    "rnn_backward",
    "rnn_forward",
    "rnn_step",
    "sample",
    "sgd",
    "sigmoid",
    "sigmoid_derivative",
    "softmax",
    "split_gates",
    "split_matrices",
    "step",
    "step_backward",
    "tanh",
    "tanh_derivative",
]
