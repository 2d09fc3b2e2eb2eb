"""A model becomes one directory: a SavedModel that any TensorFlow samples from, and the data to rebuild the model."""

import logging
import os
import tempfile
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfcharlm.artefact import config_schema, directories, layout
from tfcharlm.artefact.manifest import write_manifest
from tfcharlm.artefact.model_card import model_card
from tfcharlm.artefact.protocol import ExportableModel
from tfcharlm.artefact.strict_json import parse_json, write_json
from tfcharlm.artefact.warmup import write_warmup_requests
from tfcharlm.atomic_files import new_directory
from tfcharlm.checks import one_line
from tfcharlm.generation import TextGraph, is_debugging, with_default_settings

LOGGER = logging.getLogger(__name__)
FORMAT = 1


def export_saved_model(
    model: ExportableModel,
    filepath: Path | str,
    extra_files: Mapping[str, bytes] | None = None,
    card: str | None = None,
) -> Path:
    """Writes a model as a SavedModel: text in and text out, with TensorFlow alone.

    The directory is complete or not there at all. Everything is written beside the target and renamed in one step, so a
    server that watches the parent directory never sees half of it. `assets.extra/manifest.json` has the SHA-256 of
    every other file. `README.md` is a model card. TensorFlow Serving makes the requests in
    `assets.extra/tf_serving_warmup_requests` before it serves. The signatures take any number of rows B:

    - `generate`, also called `serving_default`: `(prompts string (B,), max_length int32 (), temperature float32 (),
      top_k int32 (), top_p float32 (), seed int64 (B,)) -> {"text": string (B,)}`;
    - `score`: `(texts string (B,)) -> {"log_probability": float64 (B,), "tokens": int32 (B,), "bits_per_character":
      float64 (B,)}`, log-probabilities in nats;
    - `step`: `(tokens int32 (B, T), state_0 ... (B, units)) -> {"logits": (B, T, V), "state_0" ... (B, units)}`. Logits
      and states have the dtypes of the model, float32 unless its policy or its cells say otherwise.

    A signature refuses an argument that is out of bounds with an InvalidArgumentError that names it.

    `tfcharlm.load_model` can rebuild the models that it documents. The export of any other model, such as one with a
    cell that is neither Keras's nor a `RecurrentCell`, works just as well in TensorFlow, and a warning says that it
    cannot be loaded. Then save it with `model.save`, too.

    Args:
        model: a `CharLM`.
        filepath: the directory to make. TensorFlow Serving watches the layout `saved_models/<name>/<version>`, with a
            whole number as the version.
        extra_files: `{name: bytes}`, files to add to `assets.extra`, where the configuration is; None (default) for
            none.
        card: the text of `README.md`; None (default) for `model_card(model, name)`.

    Returns:
        The path of the directory.

    Raises:
        FileExistsError: `filepath` exists already; nothing is overwritten.
        NotImplementedError: a cell has no `get_config`, and Keras cannot make one.

    Example:

    >>> import tempfile
    >>> import tensorflow as tf
    >>> import tfcharlm
    >>> from tfcharlm.artefact import export_saved_model
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc\\n"), [tfcharlm.RNNCell(5)])
    >>> directory = export_saved_model(model, tempfile.mkdtemp() + "/abc/1")
    >>> generate = tf.saved_model.load(str(directory)).signatures["generate"]
    >>> text = generate(
    ...     prompts=tf.constant(["ab"]), max_length=tf.constant(4), temperature=tf.constant(1.0),
    ...     top_k=tf.constant(0), top_p=tf.constant(1.0), seed=tf.constant([7], tf.int64))["text"]
    >>> text.numpy()[0].decode() == model.generate("ab", max_length=4, seed=7)
    True
    """
    target = Path(filepath)
    if os.path.lexists(target):
        raise FileExistsError(f"{target} exists already; choose another version, such as {_next_version(target)}.")
    config = _config(model)
    reason = _why_not_loadable(model, config)
    if reason:
        warnings.warn(
            f"tfcharlm.load_model cannot rebuild this model from {target}: {reason}. The SavedModel works; to train "
            "the model further, save it with model.save('model.keras') as well.",
            stacklevel=3,
        )
    with new_directory(target) as directory:
        files = {Path(directories.CONFIG).name: config, **(extra_files or {})}
        graph = _text_graph(model)
        card = model_card(model, directories.model_name(target)) if card is None else card
        with_default_settings(lambda: _write(model, graph, directory, files, card))
    LOGGER.info("the model is written to %s", target)
    return target


def exported_graph(model: ExportableModel, graph: TextGraph | None = None) -> SavedModel:
    """The graph that an export of a model has. The values of its weights are not needed.

    Args:
        model: a `CharLM`.
        graph: another graph than `model.text_graph()`, such as one of an earlier version; None by default.

    Returns:
        The message that `export_saved_model` would write to `saved_model.pb`.
    """
    graph = graph or _text_graph(model)
    with tempfile.TemporaryDirectory() as directory:
        with_default_settings(lambda: tf.saved_model.save(*_saved(model, graph, directory)))
        return SavedModel.FromString(Path(directory, directories.GRAPH).read_bytes())


def _text_graph(model):
    """The text graph of the model; a new one while settings are on that must not get into an export."""
    if is_debugging() or tf.config.functions_run_eagerly():
        return TextGraph(model, model.supports_xla)
    return model.text_graph()


def _write(model, graph, directory, extra_files, card):
    tf.saved_model.save(*_saved(model, graph, str(directory)))
    extra = directory / directories.EXTRA
    extra.mkdir()
    for name, content in extra_files.items():
        (extra / name).write_bytes(content)
    write_warmup_requests(directory / directories.WARMUP, model.vocabulary.decode([0]))
    (directory / directories.CARD).write_text(card, encoding="utf-8")
    write_manifest(directory)


def _saved(model, graph, directory):
    """The arguments of `tf.saved_model.save`."""
    artefact = tf.Module()
    # The lookup table. The functions are reached through the signatures only.
    artefact.codec = graph.codec
    # In the order of `model.weights`, by which `load_model` finds them again.
    artefact.model_weights = [variable.value for variable in model.weights]
    # What the graph may refer to although it is not a weight, such as the seed of a cell's dropout.
    artefact.other_variables = [variable.value for variable in model.variables]
    signatures = {name: function.get_concrete_function() for name, function in graph.signatures.items()}
    signatures["serving_default"] = signatures["generate"]
    # The functions for gradients would be half of the graph, and an exported graph is not trained.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    return artefact, directory, signatures, options


def _config(model):
    config = {
        "format": FORMAT,
        "tfcharlm": version("tfcharlm"),
        "vocabulary_fingerprint": model.vocabulary.fingerprint,
        "model": model.get_config(),
    }
    return write_json(config)


def _why_not_loadable(model, config):
    """Why `load_model` will not rebuild the model from this configuration, in one line; None if it will."""
    if len(config) > config_schema.MAX_BYTES:
        return f"its configuration must have at most {config_schema.MAX_BYTES:,} bytes; received {len(config):,}"
    try:
        own = {type(cell).__name__: type(cell) for layer in model.recurrent for cell in layer.cells}
        parts = config_schema.parse(parse_json(config), own)["model"]
    except ValueError as error:
        return one_line(error)
    weights = [(tuple(weight.shape), weight.dtype) for weight in model.weights]
    if weights != list(layout.weights(**parts)):
        return "it has other weights than its configuration, as when the same cell occurs twice"
    return None


def _next_version(path):
    if not path.name.isdecimal():
        return path.with_name(path.name + "-2")
    return directories.next_version(path.parent)
