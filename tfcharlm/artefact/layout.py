"""What an exported directory consists of: names of files, versions, weights and their order, signatures."""

import os
from pathlib import Path

import keras

from tfcharlm.generation import SAMPLING_SPECS
from tfcharlm.layers import CELLS

GRAPH = "saved_model.pb"
INDEX, DATA = "variables/variables.index", "variables/variables.data-00000-of-00001"
# TensorFlow copies this folder along and does not look into it.
EXTRA = "assets.extra"
CONFIG, MANIFEST = f"{EXTRA}/config.json", f"{EXTRA}/manifest.json"
# What `tfcharlm train` and `tune` put there: the settings of the run, its learning curve as a table and as a picture.
TRAINING, LEARNING_CURVE, LEARNING_CURVE_IMAGE = "training.json", "learning_curve.csv", "learning_curve.png"
# What TensorFlow takes for a pattern of paths when it reads a checkpoint.
PATTERN_CHARACTERS = "*?[]\\"
ADVICE = "give a directory that `tfcharlm train` or CharLM.export made, such as saved_models/shakespeare"
KERAS_NUM_BLOCKS = {keras.layers.SimpleRNNCell: 1, keras.layers.LSTMCell: 4, keras.layers.GRUCell: 3}
NUM_BLOCKS = KERAS_NUM_BLOCKS | {cell: cell.num_blocks for cell in CELLS.values()}


def weights(vocabulary, cells, embedding_dim, dtype, skip_connections=False, **_):
    """The `(shape, dtype name)` of each of `model.weights`, in their order, without a model.

    Arguments: the parts of a model, as `tfcharlm.artefact.config_schema.parse` gives them.
    """
    yield (len(vocabulary), embedding_dim), dtype.variable_dtype
    below, more, outputs = embedding_dim, 0, []
    for layer in cells:
        width = below + more
        for cell in layer.cells if isinstance(layer, keras.layers.StackedRNNCells) else [layer]:
            columns = NUM_BLOCKS[type(cell)] * cell.units
            yield (width, columns), cell.variable_dtype
            yield (cell.units, columns), cell.variable_dtype
            if cell.use_bias:
                yield ((2, columns) if getattr(cell, "reset_after", False) else (columns,)), cell.variable_dtype
            width = cell.units
        outputs.append(width)
        below, more = width, embedding_dim if skip_connections else 0
    yield (sum(outputs) if skip_connections else below, len(vocabulary)), dtype.variable_dtype
    yield (len(vocabulary),), dtype.variable_dtype


def signatures(cells, dtype, **_):
    """The dtypes of inputs and outputs of each signature: `{name: ({input: dtype}, {output: dtype})}`.

    Arguments: the parts of a model, as `tfcharlm.artefact.config_schema.parse` gives them.
    """
    # With no rows: only the dtypes are needed, and no memory.
    states = keras.tree.flatten([cell.get_initial_state(batch_size=0) for cell in cells])
    states = {f"state_{i}": keras.backend.standardize_dtype(state.dtype) for i, state in enumerate(states)}
    sampling = {spec.name: spec.dtype.name for spec in SAMPLING_SPECS}
    generate = {"prompts": "string", "max_length": "int32", "seed": "int64"} | sampling, {"text": "string"}
    scores = {"log_probability": "float64", "tokens": "int32", "bits_per_character": "float64"}
    return {
        "generate": generate,
        "serving_default": generate,
        "score": ({"texts": "string"}, scores),
        "step": ({"tokens": "int32"} | states, {"logits": dtype.variable_dtype} | states),
    }


def versions(directory):
    """The versions in `saved_models/<name>`: `{number: path}`."""
    return {int(path.name): path for path in Path(directory).glob("*") if path.name.isdecimal()}


def next_version(directory):
    """The path of the version after the last one in `saved_models/<name>`.

    Example:

    >>> import tempfile
    >>> from tfcharlm.artefact import next_version
    >>> next_version(tempfile.mkdtemp()).name
    '1'
    """
    return Path(directory) / str(max(versions(directory), default=0) + 1)


def latest_version(directory):
    """The directory itself if it is a SavedModel, else its subdirectory with the greatest number as its name.

    Raises:
        ValueError: there is no such directory, or it is neither.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise ValueError(f"{directory} is not a directory; {ADVICE}.")
    if os.path.lexists(directory / GRAPH):
        return directory
    numbered = {number: path for number, path in versions(directory).items() if path.is_dir()}
    if not numbered:
        raise ValueError(f"{directory} is not a tfcharlm model (it has no {GRAPH} and no version); {ADVICE}.")
    latest = numbered[max(numbered)]
    if latest.is_symlink():
        raise ValueError(f"{latest} is a symbolic link, which is not followed; give the directory that it points to.")
    return latest


def check_no_pattern(path):
    """Raises a ValueError for a path that TensorFlow's reader of checkpoints would take for a pattern of paths."""
    if set(PATTERN_CHARACTERS) & set(str(path)):
        raise ValueError(
            f"{path} has one of the characters {PATTERN_CHARACTERS}, which TensorFlow cannot read; rename it."
        )
