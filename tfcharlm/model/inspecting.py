"""What a directory is, whoever wrote it: whether TensorFlow would run what `load_model` would rebuild."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfcharlm.artefact import Inspection, exported_graph, inspect_directory, weight_specs
from tfcharlm.generation import EARLIER_GRAPHS, with_default_settings
from tfcharlm.model.char_lm import CharLM
from tfcharlm.model.given_weights import given_weights


def inspect_model(directory: Path | str, custom_objects: Mapping[str, type] | None = None) -> Inspection:
    """Describes a SavedModel without loading it, and finds what an export of tfcharlm would not have.

    Use it before TensorFlow loads a directory from a stranger, whose graph is a program: it may read or write files,
    run without end, or ask for more memory than there is. The graph of an export is what its configuration gives. So
    this function builds the model of the configuration, without weights, traces its graph, and compares every node and
    function with those of the directory. It takes the time of an export, some seconds for a model of one layer.

    Args:
        directory: a SavedModel such as `saved_models/<name>/<version>`, or `saved_models/<name>` for its latest
            version.
        custom_objects: the cells of your own that the model has, as for `load_model`; none by default.

    Returns:
        An `Inspection`. Its `is_plain_export` is True for an unchanged export of tfcharlm, which TensorFlow reads as
        the same model as `load_model`; otherwise `differences` and `disallowed` say why not.

    Raises:
        ValueError: there is no SavedModel, or its `saved_model.pb` cannot be read.

    Example:

    >>> import tempfile
    >>> import tfcharlm
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc\\n"), [tfcharlm.RNNCell(5)])
    >>> inspection = tfcharlm.inspect_model(model.export(tempfile.mkdtemp() + "/abc/1"))
    >>> inspection.is_plain_export, inspection.vocabulary.level, len(inspection.vocabulary)
    (True, 'char', 4)
    >>> inspection.signatures[0].outputs
    (('text', 'string', (None,)),)
    """
    return with_default_settings(lambda: inspect_directory(directory, _graph_of, custom_objects))


def _graph_of(parts: dict[str, Any], version: str) -> SavedModel:
    """The graph of an export with this configuration by a version of tfcharlm."""
    with given_weights(weight_specs(**parts)):
        model = CharLM.from_parts(**parts)
    earlier = EARLIER_GRAPHS.get(version)
    return exported_graph(model, earlier(model, model.supports_xla) if earlier else None)
