"""From an exported directory, whoever wrote it, to a model that can be trained further."""

from pathlib import Path

import tensorflow as tf

from tfcharlm.artefact import latest_version, read
from tfcharlm.model.char_lm import CharLM


def load_model(directory: Path | str) -> CharLM:
    """Rebuilds the `CharLM` that `CharLM.export` wrote, and runs nothing from the directory.

    It is safe for a directory from a stranger. No graph is loaded, nothing is unpickled, no class is looked up by a
    name from the directory, and TensorFlow opens none of its files. Three things are read, in this order:

    - the manifest, against which every file is checked;
    - the configuration, against a table of what it may contain;
    - the variables. Their names, dtypes, shapes and sizes must be those that the configuration needs, which is checked
      before memory is allocated for them.

    So a directory takes about twice the memory of the weights that its configuration asks for. These may have up to
    16 GiB, and a sparse file costs its author nothing: look at a stranger's directory with `inspect_model` first, which
    needs no memory for the weights. Both functions read every byte to compare its checksum, about a second for each
    gigabyte.

    Args:
        directory: `saved_models/<name>/<version>`, or `saved_models/<name>` for its latest version. It may be a
            symbolic link; inside it there must be none. Without such a directory, `names` is the small model that
            comes with the package.

    Returns:
        A `CharLM`, not compiled, with the exported weights. Its cells are those of this package,
        `keras.layers.SimpleRNNCell`, `LSTMCell` or `GRUCell`, or `StackedRNNCells` of these. A model with another cell,
        or with an activation that Keras does not have, cannot be loaded; `export` warns of it.

    Raises:
        ValueError: the directory is not an export of this package, a file is missing, added or changed, or a file does
            not contain what an export contains. The message is one line.

    Example:

    >>> import tempfile
    >>> import tfcharlm
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc\\n"), [tfcharlm.LSTMCell(5)])
    >>> directory = model.export(tempfile.mkdtemp() + "/abc/1")
    >>> loaded = tfcharlm.load_model(directory)
    >>> loaded.generate("ab", max_length=4, seed=7) == model.generate("ab", max_length=4, seed=7)
    True
    """
    directory = latest_version(directory)
    try:
        parts, arrays = read(directory)
        model = CharLM(**parts)
        expected = [(tuple(weight.shape), weight.dtype) for weight in model.weights]
        exported = [(array.shape, array.dtype.name) for array in arrays]
        if expected != exported:
            raise ValueError(f"the weights must be {expected} in this version of Keras; received {exported}")
        model.set_weights(arrays)
        return model
    except (OSError, MemoryError, ValueError, tf.errors.OpError) as error:
        raise ValueError(f"{directory} cannot be loaded: {_one_line(error)}") from error


def _one_line(error):
    return " ".join(str(error).split()) or type(error).__name__
