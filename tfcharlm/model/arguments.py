"""What `CharLM` takes: a vocabulary and cells, or a line that says what was given instead."""

import keras

from tfcharlm.text import Vocabulary


def checked_vocabulary(vocabulary):
    if not isinstance(vocabulary, Vocabulary):
        raise ValueError(
            "vocabulary must be a tfcharlm.text.Vocabulary, such as Vocabulary.from_text(text); "
            f"received {vocabulary!r}."
        )
    return vocabulary


def checked_cells(cells, policy):
    example = "such as [tfcharlm.LSTMCell(256)]"
    if not isinstance(cells, (list, tuple)) or not cells:
        raise ValueError(f"cells must be a list of RNN cells, {example}; received {cells!r}.")
    for cell in cells:
        if isinstance(cell, keras.layers.RNN) or not hasattr(cell, "state_size"):
            raise ValueError(f"cells must be a list of RNN cells, {example}; received {cell!r} in it.")
        if getattr(cell, "compute_dtype", policy.compute_dtype) != policy.compute_dtype:
            raise ValueError(
                f"a cell and its model must compute in the same dtype; received {cell.compute_dtype} in "
                f"{policy.compute_dtype}. Type {type(cell).__name__}(..., dtype={policy.name!r})."
            )
    return cells


def check_options(layers, weight_drop, skip_connections):
    """Refuses what these layers cannot be used with."""
    if not isinstance(skip_connections, bool):
        raise ValueError(f"skip_connections must be True or False; received {skip_connections!r}.")
    reason = next(filter(None, (layer.fallback_reason for layer in layers)), None)
    if weight_drop and reason:
        raise ValueError(f"weight_drop={weight_drop} needs cells with fused kernels; received one without: {reason}.")
