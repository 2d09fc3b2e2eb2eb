"""What an exported directory consists of: names of files, versions, weights and their order, signatures."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfcharlm.checks import about
from tfcharlm.generation import SAMPLING_SPECS
from tfcharlm.layers import GRUCell, LSTMCell, RecurrentCell, RNNCell, Wiring
from tfcharlm.text import Vocabulary

GRAPH, FINGERPRINT = "saved_model.pb", "fingerprint.pb"
INDEX, DATA = "variables/variables.index", "variables/variables.data-00000-of-00001"
# TensorFlow copies this folder and does not read it.
EXTRA = "assets.extra"
CONFIG, MANIFEST = f"{EXTRA}/config.json", f"{EXTRA}/manifest.json"
# The model card, and what TensorFlow Serving asks a model before it serves it.
CARD, WARMUP = "README.md", f"{EXTRA}/tf_serving_warmup_requests"
# What `tfcharlm train` and `tune` add to it: the settings of the run, its learning curve as a table and as a picture.
TRAINING, LEARNING_CURVE, LEARNING_CURVE_IMAGE = "training.json", "learning_curve.csv", "learning_curve.png"
# Less than the graph of any export has, in bytes: whatever its cell is, and for each further one.
SMALLEST_GRAPH, SMALLEST_CELL = 250_000, 70_000
# With one of these characters in a path, TensorFlow's reader of checkpoints takes it for a pattern of paths.
PATTERN_CHARACTERS = "*?[]\\"
ADVICE = "give a directory that `tfcharlm train` or CharLM.export made, such as saved_models/shakespeare"
# The models inside an installed package; in a source tree they are beside it.
PRETRAINED = Path(__file__).parents[1] / "pretrained"
PRETRAINED = PRETRAINED if PRETRAINED.is_dir() else Path(__file__).parents[2] / "saved_models"
# Keras's cells, and those of this package that have the same arrays.
SAME_ARRAYS: dict[type, Any] = {
    keras.layers.SimpleRNNCell: RNNCell, keras.layers.LSTMCell: LSTMCell, keras.layers.GRUCell: GRUCell,
}  # fmt: skip


def weights(
    vocabulary: Vocabulary,
    cells: Sequence[keras.layers.Layer],
    embedding_dim: int,
    dtype: keras.DTypePolicy,
    skip_connections: bool = False,
    members: int = 1,
    **_: Any,
) -> Iterator[tuple[tuple[int, ...], str]]:
    """The `(shape, dtype name)` of each of `model.weights`, in their order, without making a model.

    The arguments are the parts of a model, as `config_schema.parse` returns them.
    """
    yield (len(vocabulary), embedding_dim), dtype.variable_dtype
    layers = [cell.cells if isinstance(cell, keras.layers.StackedRNNCells) else [cell] for cell in cells]
    widths = [_output_width(layer[-1]) for layer in layers]
    *input_widths, head_width = Wiring(len(layers), members, skip_connections).input_widths(embedding_dim, widths)
    for layer, width in zip(layers, input_widths, strict=True):
        for cell in layer:
            for shape in _weight_shapes(cell, width):
                yield shape, cell.variable_dtype
            width = _output_width(cell)
    yield (head_width, len(vocabulary)), dtype.variable_dtype
    yield (len(vocabulary),), dtype.variable_dtype


def _output_width(cell):
    return keras.tree.flatten(cell.output_size if hasattr(cell, "output_size") else cell.state_size)[0]


def _weight_shapes(cell, width):
    """The shapes of the weights of a cell of this package, of Keras or of the user, in their order."""
    if not isinstance(cell, RecurrentCell):
        options = {name: getattr(cell, name) for name in ("use_bias", "reset_after") if hasattr(cell, name)}
        cell = SAME_ARRAYS[type(cell)](cell.units, **options)
    return cell.weight_shapes(width).values()


def is_of_export(name: str) -> bool:
    """Whether an export may have a file of this name. TensorFlow reads none of those in `assets.extra`."""
    folder, _, file = name.rpartition("/")
    return name in (GRAPH, FINGERPRINT, INDEX, DATA, CARD) or (folder == EXTRA and bool(file))


def weight_specs(**parts: Any) -> list[tf.TensorSpec]:
    """The weights of a model, without their values. The arguments are those of `weights`."""
    return [tf.TensorSpec(shape, dtype) for shape, dtype in weights(**parts)]


def signatures(
    cells: Sequence[keras.layers.Layer], dtype: keras.DTypePolicy, **_: Any
) -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """The dtypes of the inputs and outputs of each signature: `{name: ({input: dtype}, {output: dtype})}`.

    The arguments are the parts of a model, as `config_schema.parse` returns them.
    """
    # A batch of 0 rows needs no memory, and has the same dtypes.
    states = keras.tree.flatten([cell.get_initial_state(batch_size=0) for cell in cells])
    states = {f"state_{i}": keras.backend.standardize_dtype(state.dtype) for i, state in enumerate(states)}
    specs: tuple = SAMPLING_SPECS
    sampling = {spec.name: spec.dtype.name for spec in specs}
    generate = {"prompts": "string", "max_length": "int32", "seed": "int64"} | sampling, {"text": "string"}
    scores = {"log_probability": "float64", "tokens": "int32", "bits_per_character": "float64"}
    return {
        "generate": generate,
        "serving_default": generate,
        "score": ({"texts": "string"}, scores),
        "step": ({"tokens": "int32"} | states, {"logits": dtype.variable_dtype} | states),
    }


def model_name(directory: Path | str) -> str:
    """`NAME` of `saved_models/NAME/VERSION` or of `saved_models/NAME`.

    Example:

    >>> from tfcharlm.artefact import model_name
    >>> model_name("saved_models/shakespeare/1"), model_name("saved_models/shakespeare")
    ('shakespeare', 'shakespeare')
    """
    path = Path(directory).absolute()
    return path.parent.name if path.name.isdecimal() else path.name


def versions(directory: Path | str) -> dict[int, Path]:
    """The versions in `saved_models/<name>`: `{number: path}`."""
    return {int(path.name): path for path in Path(directory).glob("*") if path.name.isdecimal()}


def next_version(directory: Path | str) -> Path:
    """The path of the version after the latest one.

    Args:
        directory: `saved_models/<name>`; it need not exist.

    Returns:
        `saved_models/<name>/<version>`, which does not exist yet; version 1 if there is none.

    Example:

    >>> import tempfile
    >>> from tfcharlm.artefact import next_version
    >>> next_version(tempfile.mkdtemp()).name
    '1'
    """
    return Path(directory) / str(max(versions(directory), default=0) + 1)


def latest_version(directory: Path | str) -> Path:
    """The directory itself if it is a SavedModel; otherwise the latest version in it.

    Args:
        directory: `saved_models/<name>/<version>` or `saved_models/<name>`. If there is no such directory, the name of
            a model that comes with the package: `names`.

    Returns:
        `saved_models/<name>/<version>`.

    Raises:
        ValueError: there is no such directory or model, it has no version, or its latest version is a symbolic link.

    Example:

    >>> import pathlib, tempfile
    >>> from tfcharlm.artefact import latest_version
    >>> directory = pathlib.Path(tempfile.mkdtemp())
    >>> for version in ("9", "10"):
    ...     (directory / version).mkdir()
    >>> latest_version(directory).name
    '10'
    """
    directory = Path(directory)
    try:
        return _latest_version(directory)
    except OSError as error:  # a name that is too long, or a folder that this user may not search
        raise ValueError(about(directory, f"cannot be read: {error.strerror}; {ADVICE}.")) from error


def smallest_graph(model: Mapping[str, Any]) -> int:
    """A number of bytes that the graph of a model has in any case, so that a small one need not be compared."""
    return SMALLEST_GRAPH + SMALLEST_CELL * len(model["cells"])


def _latest_version(directory):
    if not os.path.lexists(directory) and str(directory) == directory.name and (PRETRAINED / directory).is_dir():
        directory = PRETRAINED / directory
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


def check_no_pattern(path: Path | str) -> None:
    """Checks that TensorFlow's reader of checkpoints will not take a path for a pattern of paths.

    Raises:
        ValueError: the path has one of the characters `*?[]` or a backslash.

    Example:

    >>> from tfcharlm.artefact import check_no_pattern
    >>> check_no_pattern("saved_models/shakespeare")
    """
    if set(PATTERN_CHARACTERS) & set(str(path)):
        raise ValueError(
            f"{path} has one of the characters {PATTERN_CHARACTERS}, which TensorFlow cannot read; rename it."
        )
