"""Tokens in the forms that Keras and its layers accept, as tensors of ids (B, T). Others are refused in one line."""

from typing import Any

import tensorflow as tf


def token_ids(tokens: Any, name: str = "tokens") -> tf.Tensor:
    """Ids as `tf.gather` reads them.

    Args:
        tokens: an array, a tensor or nested lists (B, T) of any number type. Fractions are cut off, as
            `keras.layers.Embedding` does; Keras makes float32 of inputs whose dtype nobody gave.
        name: what the caller calls them, for errors.

    Returns:
        int32 or int64 (B, T). An id that does not fit into int32 stays out of range, instead of becoming another id.

    Raises:
        ValueError: they are not numbers, not dense, or not of two axes.
    """
    if isinstance(tokens, (tf.RaggedTensor, tf.SparseTensor)):
        raise ValueError(
            f"{name} must be a dense array of ids (B, T); received a {type(tokens).__name__}. "
            "Pad the rows, and give sample weights that are 0 in the padding, as tfcharlm.text.line_dataset does."
        )
    try:
        ids = tf.convert_to_tensor(tokens)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be ids (B, T), B rows of T tokens; received {_shown(tokens)}.") from None
    if not (ids.dtype.is_integer or ids.dtype.is_floating or ids.dtype.is_bool):
        raise ValueError(
            f"{name} must be ids (B, T), such as vocabulary.encode(text)[None]; received the dtype {ids.dtype.name}."
        )
    if ids.shape.rank is None:
        ids = tf.ensure_shape(ids, (None, None))
    check_rank(ids.shape, name)
    if ids.dtype in (tf.int32, tf.int64):
        return ids
    return tf.cast(ids, tf.int32 if ids.dtype.size < 4 and not ids.dtype.is_floating else tf.int64)


def check_rank(shape: Any, name: str = "tokens") -> None:
    """Raises a ValueError if a shape does not have two axes."""
    if len(shape) != 2:
        raise ValueError(
            f"{name} must be ids (B, T), B rows of T tokens; received the shape {tuple(shape)}. "
            f"Type {name}[None] for a single row."
        )


def tokens_and_start(inputs: Any) -> tuple[Any, Any]:
    """The tokens and the flags `start`, or None, of what Keras hands over as the inputs of a model.

    Raises:
        ValueError: the inputs are a dictionary without "tokens", or with a key that means nothing.
    """
    if isinstance(inputs, (list, tuple)) and len(inputs) == 1:
        inputs = inputs[0]
    if not isinstance(inputs, dict):
        return inputs, None
    if "tokens" not in inputs or not inputs.keys() <= {"tokens", "start"}:
        raise ValueError(
            f'inputs must be tokens (B, T), or a dictionary with the key "tokens" and perhaps "start"; '
            f"received the keys {sorted(map(str, inputs))!r:.100}."
        )
    return inputs["tokens"], inputs.get("start")


def as_tensors(values: Any, name: str) -> Any:
    """Nested lists of numbers as a tensor, because Keras takes a list for several inputs. Others are not changed.

    Raises:
        ValueError: the rows of a list have unequal lengths.
    """
    if isinstance(values, dict):
        return {key: as_tensors(value, key) for key, value in values.items()}
    if not isinstance(values, (list, tuple)):
        return values
    if len(values) == 1 and len(getattr(values[0], "shape", ())) > 1:
        return values[0]
    try:
        return tf.convert_to_tensor(values)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be an array, or lists of numbers of equal lengths; received {_shown(values)}. "
            "tfcharlm.text.line_dataset makes padded batches of texts of unequal lengths."
        ) from None


def _shown(values):
    return f"{type(values).__name__} {' '.join(repr(values).split())!s:.80}"
