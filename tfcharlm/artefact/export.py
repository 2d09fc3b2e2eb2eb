"""A model becomes one directory: a SavedModel that any TensorFlow samples from, and the data to rebuild the model."""

import json
import os
import warnings
from importlib.metadata import version
from pathlib import Path

import tensorflow as tf

from tfcharlm.artefact import config_schema, layout
from tfcharlm.artefact.manifest import write_manifest
from tfcharlm.artefact.safe_files import parse_json
from tfcharlm.atomic_files import new_directory

FORMAT = 1


def export_saved_model(model, filepath, extra_files=None):
    """Writes a SavedModel directory, complete or not at all.

    Everything is written beside the target and renamed to it in one step: a reader, such as a server that watches the
    parent directory, never sees a half. `assets.extra/manifest.json` has the SHA-256 sum of every other file. The
    signatures take any number of rows, and refuse what is out of bounds (`tfcharlm.generation.limits`) with an
    InvalidArgumentError that names the argument:

    - `generate`, also `serving_default`: `(prompts string (B,), max_length int32 (), temperature float32 (), top_k
      int32 (), top_p float32 (), seed int64 (B,)) -> {"text": string (B,)}`;
    - `score`: `(texts string (B,)) -> {"log_probability": float64 (B,), nats, "tokens": int32 (B,),
      "bits_per_character": float64 (B,)}`;
    - `step`: `(tokens int32 (B, T), state_0 ... (B, units)) -> {"logits": (B, T, V), "state_0" ...}`, all but the
      tokens in the dtypes in which the model has them, float32 unless its policy or its cells say otherwise.

    `tfcharlm.load_model` rebuilds models of known parts only (it lists them). The export of another, such as one with a
    cell of the user's own, works like any, and a warning says that it cannot be loaded: keep `model.save` beside it.

    Args:
        model: a `CharLM`.
        filepath: the directory to make. `saved_models/<name>/<version>`, with a whole number as version, is the layout
            that TensorFlow Serving watches.
        extra_files: `{name: bytes}` to put beside the configuration in `assets.extra`.

    Returns:
        The path of the directory.

    Raises:
        FileExistsError: `filepath` exists already; nothing is overwritten.
        NotImplementedError: a cell has no `get_config` and Keras cannot make one.

    Example:

    >>> model = CharLM(Vocabulary("abc\\n"), [RNNCell(5)])
    >>> directory = model.export(tempfile.mkdtemp() + "/abc/1")
    >>> artefact = tf.saved_model.load(str(directory))
    >>> text = artefact.signatures["generate"](
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
        _write(model, directory, {Path(layout.CONFIG).name: config, **(extra_files or {})})
    return target


def _write(model, directory, extra_files):
    graph = model.text_graph()
    artefact = tf.Module()
    # The lookup table; the functions are reached through the signatures alone.
    artefact.codec = graph.codec
    # In the order of `model.weights`, which is how `load_model` finds them again.
    artefact.model_weights = [variable.value for variable in model.weights]
    # What the graph may refer to and is no weight, such as the seed of a cell's dropout.
    artefact.other_variables = [variable.value for variable in model.variables]
    signatures = {name: getattr(graph, name).get_concrete_function() for name in ("generate", "score", "step")}
    signatures["serving_default"] = signatures["generate"]
    # The functions for gradients would be half of the graph, and an exported graph is not trained.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(artefact, str(directory), signatures, options)
    extra = directory / layout.EXTRA
    extra.mkdir()
    for name, content in extra_files.items():
        (extra / name).write_bytes(content)
    write_manifest(directory)


def _config(model):
    config = {
        "format": FORMAT,
        "tfcharlm": version("tfcharlm"),
        "vocabulary_fingerprint": model.vocabulary.fingerprint,
        "model": model.get_config(),
    }
    return json.dumps(config, indent=1, ensure_ascii=False, sort_keys=True).encode()


def _why_not_loadable(model, config):
    """Why `load_model` will not rebuild the model from this configuration, in one line; None if it will."""
    if len(config) > config_schema.MAX_BYTES:
        return f"its configuration has {len(config):,} bytes; at most {config_schema.MAX_BYTES:,} are read"
    try:
        parts = config_schema.parse(parse_json(config))["model"]
    except ValueError as error:
        return " ".join(str(error).split())
    weights = [(tuple(weight.shape), weight.dtype) for weight in model.weights]
    if weights != list(layout.weights(**parts)):
        return "it has other weights than its configuration says, as when a cell stands in it twice"
    return None


def _next_version(path):
    if not path.name.isdecimal():
        return path.with_name(path.name + "-2")
    return layout.next_version(path.parent)
