"""Checks of the arguments of `CharLM`: a wrong one is refused in one line that says what to type."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfcharlm.checks import POSITIVE_INTEGER
from tfcharlm.layers import RNN
from tfcharlm.text import Vocabulary


def checked_keywords(keywords: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments for `keras.Model`, or a ValueError if there is one that `CharLM` would not heed."""
    unknown = sorted(keywords.keys() - {"name", "trainable", "dtype"})
    if unknown:
        raise ValueError(
            f"CharLM has no argument {unknown[0]!r}; besides its own it takes name, trainable and dtype, such as "
            "CharLM(vocabulary, cells, name='shakespeare')."
        )
    return keywords


def checked_policy(policy: keras.DTypePolicy) -> keras.DTypePolicy:
    """The dtype policy, or a ValueError if it is not one in which a model computes and trains."""
    plain = not isinstance(policy, keras.dtype_policies.DTypePolicyMap) and policy.quantization_mode is None
    if not plain or not tf.as_dtype(policy.compute_dtype).is_floating:
        raise ValueError(
            "dtype must be float32, float64, mixed_bfloat16 or another dtype policy of floating-point numbers; "
            f"received {policy.name!r:.80}."
        )
    return policy


def checked_vocabulary(vocabulary: object) -> Vocabulary:
    """The vocabulary, or a ValueError if it is not one."""
    if not isinstance(vocabulary, Vocabulary):
        raise ValueError(
            "vocabulary must be a tfcharlm.text.Vocabulary, such as Vocabulary.from_text(text); "
            f"received {vocabulary!r:.200}."
        )
    return vocabulary


def check_trained(variables: Iterable[keras.Variable]) -> None:
    """Raises a ValueError if an optimizer could not train these variables."""
    dtype = next((variable.dtype for variable in variables if variable.dtype in ("float16", "bfloat16")), None)
    if dtype:
        raise ValueError(
            "dtype must be float32, float64 or a mixed policy in training, because optimizers lose small updates to "
            f"16-bit weights; received {dtype}. Type dtype='mixed_{dtype}', or set floatx to 'float32' in keras.json."
        )


def checked_cells(cells: object, policy: keras.DTypePolicy) -> Sequence[keras.layers.Layer]:
    """The cells, or a ValueError if they are not RNN cells that compute in the dtype of the model's policy."""
    example = "such as [tfcharlm.LSTMCell(256)]"
    if not isinstance(cells, (list, tuple)) or not cells:
        raise ValueError(f"cells must be a list of RNN cells, {example}; received {cells!r:.200}.")
    for cell in cells:
        if isinstance(cell, keras.layers.RNN) or not hasattr(cell, "state_size"):
            raise ValueError(f"cells must be a list of RNN cells, {example}; received a list with {cell!r:.200}.")
        if getattr(cell, "quantization_mode", None) is not None:
            raise ValueError(f"cells must not be quantized; received {cell.name} with {cell.dtype_policy.name!r}.")
        if getattr(cell, "compute_dtype", policy.compute_dtype) != policy.compute_dtype:
            name = type(cell).__name__
            raise ValueError(
                f"cells must compute in the dtype of their model, {policy.compute_dtype}; received a {name} that "
                f"computes in {cell.compute_dtype}. Type {name}(..., dtype={policy.name!r})."
            )
    return cells


def check_dtypes(layers: Iterable[RNN], policy: keras.DTypePolicy) -> None:
    """Raises a ValueError if a recurrent layer or its cell got another dtype policy than that of its model.

    A copy could not have it, because a configuration has the policies of the model and the cells only.
    """
    for layer in layers:
        checked_cells([layer.cell], policy)
        if layer.dtype_policy != policy:
            raise ValueError(
                f"the dtype_policy of {layer.name} must be that of the model, {policy.name}; received "
                f"{layer.dtype_policy.name!r:.80}. Make a new model, CharLM(..., dtype=...), with cells of that dtype."
            )


def check_options(layers: Sequence[RNN], weight_drop: float, skip_connections: object, members: object) -> None:
    """Raises a ValueError for options that these layers cannot have."""
    if not isinstance(skip_connections, bool):
        raise ValueError(f"skip_connections must be True or False; received {skip_connections!r:.200}.")
    if len(layers) % POSITIVE_INTEGER.check("members", members):
        raise ValueError(
            f"cells must be the layers of members={members} networks, as many for each; received {len(layers)}."
        )
    reason = next(filter(None, (layer.why_not_fused for layer in layers)), None)
    if weight_drop and reason:
        raise ValueError(
            f"weight_drop must be 0 unless every cell has a fused kernel; received weight_drop={weight_drop}, "
            f"but {reason}."
        )
