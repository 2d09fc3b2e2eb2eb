"""A model becomes one directory: a SavedModel that any TensorFlow samples from, and the data to rebuild the model."""

import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import tensorflow as tf

from tfcharlm.version import __version__

FORMAT = 1


def export(model, filepath, extra_files=None):
    """Writes a SavedModel directory, complete or not at all.

    Everything is written beside the target and renamed to it in one step: a reader, such as a server that watches the
    parent directory, never sees a half. The signature `generate` (also `serving_default`) is `(prompts string (B,),
    max_length int32 (), temperature float32 (), top_k int32 (), top_p float32 (), seed int64 (B,)) -> {"text": string
    (B,)}`.

    Args:
        model: a `CharLM`.
        filepath: the directory to make. `saved_models/<name>/<version>`, with a whole number as version, is the layout
            that TensorFlow Serving watches.
        extra_files: `{name: bytes}` to put beside the configuration in `assets.extra`.

    Returns:
        The path of the directory.

    Raises:
        FileExistsError: `filepath` exists already; nothing is overwritten.

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
    with _parents_of(target), _temporary_directory(target.parent) as directory:
        _write(model, directory, extra_files or {})
        # rename(2) refuses a target that came into being meanwhile, unless it is an empty directory.
        directory.rename(target)
    return target


def _write(model, directory, extra_files):
    generator = model.text_generator
    artefact = tf.Module()
    artefact.generator = generator
    # In the order of `model.weights`, which is how `load_model` finds them again.
    artefact.model_weights = [variable.value for variable in model.weights]
    # What the graph may refer to and is no weight, such as the seed of a cell's dropout.
    artefact.other_variables = [variable.value for variable in model.variables]
    signature = generator.generate.get_concrete_function()
    tf.saved_model.save(artefact, str(directory), signatures={"generate": signature, "serving_default": signature})
    extra = directory / "assets.extra"
    extra.mkdir()
    for name, content in {"config.json": _config(model), **extra_files}.items():
        (extra / name).write_bytes(content)


def _config(model):
    config = {
        "format": FORMAT,
        "tfcharlm": __version__,
        "vocabulary_fingerprint": model.vocabulary.fingerprint,
        "model": model.get_config(),
    }
    return json.dumps(config, indent=1, ensure_ascii=False, sort_keys=True).encode()


@contextlib.contextmanager
def _parents_of(target):
    """Makes the missing parent directories; takes them away again if nothing came of it."""
    missing = [parent for parent in target.parents if not parent.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for parent in missing:
            with contextlib.suppress(OSError):  # not empty: it holds what was made
                parent.rmdir()


@contextlib.contextmanager
def _temporary_directory(parent):
    directory = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=parent))
    try:
        # mkdtemp makes it private; what is published has the permissions that the user's umask gives.
        mask = os.umask(0)
        os.umask(mask)
        directory.chmod(0o777 & ~mask)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _next_version(path):
    if not path.name.isdecimal():
        return path.with_name(path.name + "-2")
    return next_version(path.parent)


def next_version(directory):
    """The path of the version after the last one in `saved_models/<name>`.

    Example:

    >>> next_version(Path(tempfile.mkdtemp())).name
    '1'
    """
    directory = Path(directory)
    versions = [int(path.name) for path in directory.glob("*") if path.name.isdecimal()]
    return directory / str(max(versions, default=0) + 1)
