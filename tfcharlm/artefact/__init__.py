"""A model becomes a directory or a file. A directory becomes data again, and is never run.

`export_saved_model` writes a directory that TensorFlow runs without this package. `read`, `read_record` and
`inspect_directory` look at such a directory, whoever wrote it. `export_litert` and `export_onnx` write one step of a
model for small runtimes, and `export_html` a page for a browser. `export_model` takes any of the formats.
"""

from tfcharlm.artefact.directories import (
    EXTRA,
    LEARNING_CURVE,
    LEARNING_CURVE_IMAGE,
    TRAINING,
    check_no_pattern,
    latest_version,
    model_name,
    next_version,
)
from tfcharlm.artefact.export import export_saved_model, exported_graph
from tfcharlm.artefact.formats import FORMATS, export_model
from tfcharlm.artefact.html_page import export_html
from tfcharlm.artefact.inspection import Inspection, inspect_directory
from tfcharlm.artefact.layout import weight_specs
from tfcharlm.artefact.litert import export_litert
from tfcharlm.artefact.model_card import model_card
from tfcharlm.artefact.onnx_step import export_onnx
from tfcharlm.artefact.protocol import ExportableModel
from tfcharlm.artefact.reading import read, read_record

__all__ = [
    "EXTRA",
    "FORMATS",
    "LEARNING_CURVE",
    "LEARNING_CURVE_IMAGE",
    "TRAINING",
    "ExportableModel",
    "Inspection",
    "check_no_pattern",
    "export_html",
    "export_litert",
    "export_model",
    "export_onnx",
    "export_saved_model",
    "exported_graph",
    "inspect_directory",
    "latest_version",
    "model_card",
    "model_name",
    "next_version",
    "read",
    "read_record",
    "weight_specs",
]
