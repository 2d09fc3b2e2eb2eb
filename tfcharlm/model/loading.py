"""The way back: from an exported directory to a model that can be trained further, whoever wrote the directory."""

import tensorflow as tf

from tfcharlm.artefact import latest_version, read
from tfcharlm.model.char_lm import CharLM


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
    directory = latest_version(directory)
    try:
        parts, arrays = read(directory)
        model = CharLM(**parts)
        made = [(tuple(weight.shape), weight.dtype) for weight in model.weights]
        exported = [(array.shape, array.dtype.name) for array in arrays]
        if made != exported:
            raise ValueError(f"this version of Keras makes other weights, {made}, than were exported, {exported}")
        model.set_weights(arrays)
        return model
    except (OSError, MemoryError, ValueError, tf.errors.OpError) as error:
        raise ValueError(f"{directory} cannot be loaded: {_one_line(error)}") from error


def _one_line(error):
    return " ".join(str(error).split()) or type(error).__name__
