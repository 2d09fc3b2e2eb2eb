"""A model becomes a directory or a file; a directory becomes data again, and never code.

`export_saved_model` writes what TensorFlow runs without this package. `read` and `inspect_model` look at such a
directory, whoever wrote it. `export_litert` and `export_onnx` write one step for small runtimes.
"""

from tfcharlm.artefact.export import export_saved_model
from tfcharlm.artefact.inspection import Inspection, inspect_model
from tfcharlm.artefact.layout import (
    EXTRA,
    LEARNING_CURVE,
    LEARNING_CURVE_IMAGE,
    TRAINING,
    check_no_pattern,
    latest_version,
    next_version,
)
from tfcharlm.artefact.litert import export_litert
from tfcharlm.artefact.onnx_step import export_onnx
from tfcharlm.artefact.reading import read

__all__ = [
    "EXTRA",
    "LEARNING_CURVE",
    "LEARNING_CURVE_IMAGE",
    "TRAINING",
    "Inspection",
    "check_no_pattern",
    "export_litert",
    "export_onnx",
    "export_saved_model",
    "inspect_model",
    "latest_version",
    "next_version",
    "read",
]
