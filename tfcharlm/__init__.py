"""Recurrent character language models in Keras 3 and TensorFlow. Start with README.md, then docs/architecture.md."""

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

# It refuses other backends than TensorFlow, before anything imports Keras.
from tfcharlm import keras_backend  # noqa: F401

# isort: split
from tfcharlm import testing, text
from tfcharlm.analysis import novelty_report
from tfcharlm.artefact import export_litert, export_onnx
from tfcharlm.checkpoint import Checkpoint
from tfcharlm.generation import DynamicEvaluation
from tfcharlm.kernels import configure_threads, native_kernels, show_config
from tfcharlm.layers import RNN, GRUCell, LSTMCell, Parameter, RecurrentCell, RNNCell
from tfcharlm.model import CharLM, Guard, NonFiniteError, inspect_model, load_model

if TYPE_CHECKING:
    from tfcharlm.tuning import CharLMHyperModel

__version__ = version("tfcharlm")

__all__ = [
    "RNN",
    "CharLM",
    "CharLMHyperModel",
    "Checkpoint",
    "DynamicEvaluation",
    "GRUCell",
    "Guard",
    "LSTMCell",
    "NonFiniteError",
    "Parameter",
    "RNNCell",
    "RecurrentCell",
    "__version__",
    "configure_threads",
    "export_litert",
    "export_onnx",
    "inspect_model",
    "load_model",
    "native_kernels",
    "novelty_report",
    "show_config",
    "testing",
    "text",
]


def __getattr__(name: str) -> Any:
    # Keras Tuner is imported only when somebody searches.
    if name in ("CharLMHyperModel", "tuning"):
        room = importlib.import_module("tfcharlm.tuning")
        return room if name == "tuning" else room.CharLMHyperModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
