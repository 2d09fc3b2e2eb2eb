"""Tokens, targets and weights as arrays: lists become tensors, shapes are checked and get two axes each."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfcharlm.model.inputs import as_tensors, check_rank, tokens_and_start


def is_array(x: Any) -> bool:
    """Whether inputs are arrays or tensors, in a dictionary or not, rather than a source of batches."""
    return hasattr(x["tokens"] if isinstance(x, Mapping) and "tokens" in x else x, "shape")


def checked_arrays(x: Any, y: Any = None, weights: Any = None) -> tuple[Any, Any, Any]:
    """Inputs, targets and weights as a method of Keras is given them; sources of batches are not changed.

    A step is traced once for all shapes with the same number of axes. It would be traced for any number of axes, and
    find errors later, if weights were (N, T) in one call and (N,) in the next.

    Returns:
        `(x, y, weights)`: tokens (N, T), or a dictionary with them; targets (N, T) or None; weights (N, T), (N, 1) or
        None.

    Raises:
        ValueError: shapes do not fit, or a list is none of numbers of equal lengths.
    """
    x, y, weights = as_tensors(x, "x"), as_tensors(y, "y"), as_tensors(weights, "sample_weight")
    if not is_array(x):
        return x, y, weights
    tokens, start = tokens_and_start(x)
    check_shapes(*(getattr(array, "shape", None) for array in (tokens, y, weights, start)))
    # Keras's losses of sparse classes take a last axis of length 1, too.
    y = y[..., 0] if len(getattr(y, "shape", ())) == 3 else y
    return x, y, weights[:, None] if len(getattr(weights, "shape", ())) == 1 else weights


def check_targets(x: Any, y: Any) -> None:
    """Raises a ValueError if there are no targets for an array of tokens."""
    if is_array(x) and y is None:
        raise ValueError(
            "y must be the token after each token of x, ids of the same shape; received None. "
            "Type x=ids[:, :-1], y=ids[:, 1:]."
        )


def check_shapes(tokens: Any, targets: Any = None, weights: Any = None, start: Any = None) -> None:
    """Raises a ValueError if shapes do not fit together. None is for what there is not; a dimension may be unknown."""
    tokens, targets, weights, start = (shape if shape is None else tf.TensorShape(shape)
                                       for shape in (tokens, targets, weights, start))  # fmt: skip
    if tokens.rank is None:
        return
    check_rank(tokens)
    if targets is not None and targets.rank is not None:
        own = targets[:2] if targets.rank == 3 and targets[2] == 1 else targets
        check_rank(own, "y")
        if not own.is_compatible_with(tokens):
            raise ValueError(
                f"y must be the token after each token of x, ids {tuple(tokens)}; received the shape {tuple(targets)}."
            )
    if weights is not None and weights.rank is not None:
        # None, or a 1 that stands for all tokens of a row or all rows.
        pairs = zip(weights, tokens, strict=False)
        fits = weights.rank in (1, 2) and all(own in (None, 1, size) or size is None for own, size in pairs)
        if not fits:
            raise ValueError(
                f"sample_weight must be numbers (B, T), (B, 1) or (B,), for tokens {tuple(tokens)}; received the "
                f"shape {tuple(weights)}."
            )
    if start is not None and start.rank not in (None, 1):
        raise ValueError(f"start must be flags (B,), one for each row; received the shape {tuple(start)}.")
