"""From an exported directory, whoever wrote it, to a model that can be trained further."""

import logging
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

from tfcharlm.artefact import latest_version, read
from tfcharlm.checks import about
from tfcharlm.generation import check_not_forked
from tfcharlm.model.char_lm import CharLM
from tfcharlm.model.given_weights import given_weights

LOGGER = logging.getLogger(__name__)


def load_model(directory: Path | str, custom_objects: Mapping[str, type] | None = None) -> CharLM:
    """Rebuilds the `CharLM` that `CharLM.export` wrote, and runs nothing from the directory.

    It is safe for a directory from a stranger. No graph is loaded, nothing is unpickled, no class is imported by a
    name from the directory, no initializer runs, and TensorFlow opens none of its files. This holds for `load_model`,
    not for giving the same directory to TensorFlow: `inspect_model` says whether that is the same model. Three things
    are read, in this order:

    - the manifest, against which every file is checked;
    - the configuration, against a table of what it may contain;
    - the variables. Their names, dtypes, shapes and sizes must be those that the configuration needs, which is checked
      before memory is allocated for them, and their bytes must agree with their checksums.

    Each has one form only, the one that an export writes. A directory takes about twice the memory of its weights.
    These may have up to 16 GiB, and a sparse file costs its author nothing, so look at the size of a stranger's
    directory first. Every byte is read to compare its checksums, about a second for each gigabyte.

    Args:
        directory: `saved_models/<name>/<version>`, or `saved_models/<name>` for its latest version. It may be a
            symbolic link; inside it there must be none. Without such a directory, `names` is the small model that
            comes with the package.
        custom_objects: the cells of your own that the model has, `{"MyCell": MyCell}`. None (default) for none. A
            `RecurrentCell` that your program has registered, with `keras.saving.register_keras_serializable`, is found
            by its name. A class is never looked for where the directory says that it is. Yours is called with what the
            configuration says, so its `__init__` must bear a stranger's arguments if the directory is a stranger's.

    Returns:
        A `CharLM`, not compiled, with the exported weights. Besides your own, its cells are those of this package,
        `keras.layers.SimpleRNNCell`, `LSTMCell` or `GRUCell`, or `StackedRNNCells` of these. A model with another cell,
        or with an activation that Keras does not have, cannot be loaded; `export` warns of it.

    Raises:
        RuntimeError: this process was forked after TensorFlow was used.
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
    check_not_forked()
    directory = latest_version(directory)
    try:
        parts, arrays = read(directory, custom_objects)
        model = _built(parts, arrays)
        expected = [(tuple(weight.shape), weight.dtype) for weight in model.weights]
        exported = [(array.shape, array.dtype.name) for array in arrays]
        if expected != exported:
            raise ValueError(f"the weights must be {expected} in this version of Keras; received {exported}")
        LOGGER.info("the model is read from %s", directory)
        return model
    except (OSError, MemoryError, ValueError, tf.errors.OpError) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(about(directory, f"cannot be loaded: {reason}")) from error


def _built(parts, arrays):
    # The initializers in a configuration are a stranger's choice, and may need far more than the weights.
    with given_weights(arrays):
        try:
            return CharLM.from_parts(**parts)
        except Exception as error:  # a cell of the user raises errors of any class
            raise ValueError(str(error) or type(error).__name__) from error
