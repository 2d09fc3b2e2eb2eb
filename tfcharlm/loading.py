"""The way back: from an exported directory to a model that can be trained on, whoever wrote the directory."""

import os
from pathlib import Path

import tensorflow as tf

from tfcharlm import bundle, expected, schema
from tfcharlm.manifest import check_manifest, read_listed
from tfcharlm.model import CharLM
from tfcharlm.untrusted import parse_json

CONFIG = "assets.extra/config.json"
INDEX, DATA = "variables/variables.index", "variables/variables.data-00000-of-00001"
MAX_INDEX = 2**20
ADVICE = "give a directory that `tfcharlm train` or CharLM.export made, such as saved_models/shakespeare"


def load_model(directory):
    """Rebuilds the `CharLM` that `CharLM.export` wrote.

    Nothing of the directory is run: no graph is loaded, nothing is unpickled, no class is looked up by a name that the
    directory gives, and TensorFlow opens none of its files. What is read, in this order: the manifest, against which
    every file is checked; the configuration, against a table of what it may say; the variables, whose names, dtypes,
    shapes and sizes must be those that the configuration needs before memory is taken for them.

    So a directory takes the memory of the weights that its configuration asks for, about twice; but these may have up
    to 16 GiB, and holes in a file cost its author nothing. `inspect_model` needs no memory for them. Both read every
    byte to compare its sum, about a second a gigabyte.

    Args:
        directory: `saved_models/<name>/<version>`, or `saved_models/<name>` for its latest version. It may be a
            symbolic link; there must be none below it.

    Returns:
        A `CharLM`, not compiled, with the exported weights. Its cells are of this package, or
        `keras.layers.SimpleRNNCell`, `LSTMCell` or `GRUCell`, or `StackedRNNCells` of these; another cell, or an
        activation that Keras does not have, cannot be loaded, and `export` warns of it.

    Raises:
        ValueError: the directory is no export of this package, a file is missing, added or changed, or what the files
            say is not what an export says; in one line.

    Example:

    >>> model = CharLM(Vocabulary("abc\\n"), [LSTMCell(5)])
    >>> directory = model.export(tempfile.mkdtemp() + "/abc/1")
    >>> load_model(directory).generate("ab", max_length=4, seed=7) == model.generate("ab", max_length=4, seed=7)
    True
    """
    directory = latest_version(Path(directory))
    try:
        files, differences = check_manifest(directory)
        if differences:
            raise ValueError(differences[0])
        config = read_config(directory, files)
        return _with_weights(directory, files, config["model"])
    except (OSError, MemoryError, ValueError, tf.errors.OpError) as error:
        raise ValueError(f"{directory} cannot be loaded: {_one_line(error)}") from error


def latest_version(directory):
    """The directory itself if it is a SavedModel, else its subdirectory with the greatest number as its name.

    Raises:
        ValueError: there is no such directory, or it has neither.
    """
    if not directory.is_dir():
        raise ValueError(f"{directory} is no directory; {ADVICE}.")
    if os.path.lexists(directory / "saved_model.pb"):
        return directory
    versions = [path for path in directory.iterdir() if path.name.isdecimal() and path.is_dir()]
    if not versions:
        raise ValueError(f"{directory} is no tfcharlm model (it has no saved_model.pb and no version); {ADVICE}.")
    latest = max(versions, key=lambda path: int(path.name))
    if latest.is_symlink():
        raise ValueError(f"{latest} is a symbolic link, which is not followed; give the directory that it points to.")
    return latest


def read_config(directory, files):
    """The checked configuration of an export whose files `check_manifest` has seen.

    Returns:
        As `schema.parse`.

    Raises:
        ValueError: it is missing, no strict JSON, or does not say what an export says.
    """
    config = schema.parse(parse_json(read_listed(directory, CONFIG, files, schema.MAX_BYTES)))
    if config["model"]["vocabulary"].fingerprint != config["vocabulary_fingerprint"]:
        raise ValueError("its vocabulary does not have the fingerprint that was exported with it")
    return config


def find_weights(directory, files, parts):
    """Where the weights of an export stand, told from the index of its variables: none of them is read.

    Args:
        directory, files: an export and its files, as `check_manifest` has seen them.
        parts: of its model, as `read_config` gives them.

    Returns:
        `(offsets, weights)`: as of `bundle.find_weights`, and as of `expected.weights`.

    Raises:
        ValueError: they are not as the configuration needs them.
    """
    weights = list(expected.weights(**parts))
    index = read_listed(directory, INDEX, files, MAX_INDEX)
    if DATA not in files:
        raise ValueError(f"it has no {DATA}")
    return bundle.find_weights(index, files[DATA].bytes, weights), weights


def _with_weights(directory, files, parts):
    # Before the model takes memory for what the configuration asks: the numbers must be there.
    offsets, weights = find_weights(directory, files, parts)
    values = bundle.read_weights(read_listed(directory, DATA, files, files[DATA].bytes), offsets, weights)
    model = CharLM(**parts)
    made = [(tuple(weight.shape), weight.dtype) for weight in model.weights]
    if made != weights:
        raise ValueError(f"this version of Keras makes other weights, {made}, than were exported, {weights}")
    model.set_weights(values)
    return model


def _one_line(error):
    return " ".join(str(error).split()) or type(error).__name__
