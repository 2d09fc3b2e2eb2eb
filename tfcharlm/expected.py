"""What an export has by its configuration: its weights and their order, and its signatures."""

import keras

from tfcharlm.layers import LSTMCell, RNNCell

GATES = {
    RNNCell: 1,
    LSTMCell: 4,
    keras.layers.SimpleRNNCell: 1,
    keras.layers.LSTMCell: 4,
    keras.layers.GRUCell: 3,
}


def weights(vocabulary, cells, embedding_dim, dtype, skip_connections=False, **_):
    """The `(shape, dtype name)` of each of `model.weights`, in their order, without a model.

    Arguments: the parts of a model, as `tfcharlm.schema.parse` gives them.
    """
    yield (len(vocabulary), embedding_dim), dtype.variable_dtype
    below, more, outputs = embedding_dim, 0, []
    for layer in cells:
        width = below + more
        for cell in layer.cells if isinstance(layer, keras.layers.StackedRNNCells) else [layer]:
            columns = GATES[type(cell)] * cell.units
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

    Arguments: the parts of a model, as `tfcharlm.schema.parse` gives them.
    """
    # Of no rows: the dtypes are wanted, and no memory.
    states = keras.tree.flatten([cell.get_initial_state(batch_size=0) for cell in cells])
    states = {f"state_{i}": keras.backend.standardize_dtype(state.dtype) for i, state in enumerate(states)}
    sampling = {"temperature": "float32", "top_k": "int32", "top_p": "float32"}
    generate = {"prompts": "string", "max_length": "int32", "seed": "int64"} | sampling, {"text": "string"}
    scores = {"log_probability": "float64", "tokens": "int32", "bits_per_character": "float64"}
    return {
        "generate": generate,
        "serving_default": generate,
        "score": ({"texts": "string"}, scores),
        "step": ({"tokens": "int32"} | states, {"logits": dtype.variable_dtype} | states),
    }
