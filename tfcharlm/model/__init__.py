"""`CharLM`, the model, and what its `fit` does with streams of text, several replicas and numbers that are not finite.

`load_model` rebuilds a model from an exported directory, and `inspect_model` tells what such a directory is.
"""

from tfcharlm.model.char_lm import CharLM
from tfcharlm.model.guard import Guard, NonFiniteError
from tfcharlm.model.inspecting import inspect_model
from tfcharlm.model.loading import load_model
from tfcharlm.model.replicas import Replicas, WorkerLostError
from tfcharlm.model.temperature import fit_temperature

__all__ = [
    "CharLM",
    "Guard",
    "NonFiniteError",
    "Replicas",
    "WorkerLostError",
    "fit_temperature",
    "inspect_model",
    "load_model",
]
