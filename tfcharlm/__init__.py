"""Recurrent character language models in Keras 3 and TensorFlow. Start with README.md, then docs/architecture.md."""

from tfcharlm import testing, text
from tfcharlm.checkpoint import Checkpoint
from tfcharlm.edge import export_litert, export_onnx
from tfcharlm.guard import Guard, NonFiniteError
from tfcharlm.inspection import inspect_model
from tfcharlm.kernels import configure_threads
from tfcharlm.layers import RNN, LSTMCell, RNNCell
from tfcharlm.loading import load_model
from tfcharlm.model import CharLM
from tfcharlm.novelty import novelty_report
from tfcharlm.tuning import CharLMHyperModel
from tfcharlm.version import __version__

__all__ = [
    "RNN",
    "CharLM",
    "CharLMHyperModel",
    "Checkpoint",
    "Guard",
    "LSTMCell",
    "NonFiniteError",
    "RNNCell",
    "__version__",
    "configure_threads",
    "export_litert",
    "export_onnx",
    "inspect_model",
    "load_model",
    "novelty_report",
    "testing",
    "text",
]
