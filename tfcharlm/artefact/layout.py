"""What an exported directory consists of: files, weights and their order, signatures."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfcharlm.artefact.directories import CARD, DATA, EXTRA, FINGERPRINT, GRAPH, INDEX
from tfcharlm.generation import SAMPLING_SPECS
from tfcharlm.layers import GRUCell, LSTMCell, RecurrentCell, RNNCell, Wiring
from tfcharlm.text import Vocabulary

# Less than the graph of any export has, in bytes: whatever its cell is, and for each further one.
SMALLEST_GRAPH, SMALLEST_CELL = 250_000, 70_000
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


def smallest_graph(model: Mapping[str, Any]) -> int:
    """A number of bytes that the graph of a model has in any case, so that a small one need not be compared."""
    return SMALLEST_GRAPH + SMALLEST_CELL * len(model["cells"])
