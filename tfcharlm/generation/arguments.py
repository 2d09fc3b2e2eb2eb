"""Arguments of generation: texts, seeds, stop strings and callbacks of any usual type, or one line of error."""

import secrets
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfcharlm.checks import plain_number, short_repr
from tfcharlm.generation.sampling_settings import ROW_SEED
from tfcharlm.text import UnknownTokenError, Vocabulary


def checked_texts(name: str, value: Any) -> tuple[list[str], bool]:
    """`(list of strings, whether it was one string)`; a ValueError unless it is a string or a list of strings.

    Tuples, arrays and tensors of strings are lists, too; those without axes are one string.

    Example:

    >>> import numpy as np
    >>> import tensorflow as tf
    >>> from tfcharlm.generation.arguments import checked_texts
    >>> checked_texts("texts", np.array(["to", "be"])), checked_texts("texts", tf.constant("to"))
    ((['to', 'be'], False), (['to'], True))
    """
    expected = f"{name} must be a string or a list of strings"
    plain = _without_arrays(name, value)
    if isinstance(plain, str):
        return [_exactly_str(plain)], True
    if not isinstance(plain, (list, tuple)):
        raise ValueError(f"{expected}; received {_described(value)}")
    texts = [_without_arrays(name, text) for text in plain]
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"{expected}; at position {position} of the list received {_described(text)}")
    return list(map(_exactly_str, texts)), False


def checked_text(name: str, value: Any) -> str:
    """The string; a ValueError if it is anything else. An array or a tensor of one string is a string, too."""
    text = _without_arrays(name, value)
    if not isinstance(text, str):
        raise ValueError(f"{name} must be a string; received {_described(value)}")
    return _exactly_str(text)


def checked_prompt(vocabulary: Vocabulary, prompt: Any) -> str:
    """The prompt; a ValueError if a model with this vocabulary cannot continue it."""
    text = checked_text("prompt", prompt)
    if text == "" and not vocabulary.line_start:
        raise ValueError("prompt must not be empty, because this model has no newline to start a line; received ''.")
    try:
        vocabulary.encode(text)
    except UnknownTokenError as error:
        raise ValueError(f"prompt: {error.what}; a model can only read the tokens of its vocabulary.") from error
    return text


def row_seeds(seed: Any, rows: int) -> list[int]:
    """One int64 seed per row: s, s + 1, ... for an integer s, random ones for None; a list is returned as it is.

    Example:

    >>> from tfcharlm.generation.arguments import row_seeds
    >>> row_seeds(7, 3)
    [7, 8, 9]
    """
    first = secrets.randbelow(2**62) if seed is None else seed
    if first in ROW_SEED:
        seeds: Any = range(number := plain_number(first), number + rows)  # type: ignore[arg-type, operator]
    else:
        seeds = _without_arrays("seed", seed)
    is_list = isinstance(seeds, Sequence) and not isinstance(seeds, (str, bytes, bytearray))
    if not is_list or len(seeds) != rows or not all(value in ROW_SEED for value in seeds):
        raise ValueError(
            f"seed must be an integer of 64 bits, or a list of {rows}, one for each row; received {short_repr(seed)}."
        )
    return [plain_number(value) for value in seeds]  # type: ignore[misc]


def checked_stops(stop: Any) -> list[str]:
    """A list of stop strings, empty for None."""
    try:
        stops = [] if stop is None else checked_texts("stop", stop)[0]
    except ValueError:
        stops = [""]
    if not all(stops):
        raise ValueError(
            f"stop must be None, a string or a list of strings, and none may be empty; received {_described(stop)}"
        )
    return stops


def checked_callback(callback: Any) -> Callable[[int, str], Any] | None:
    """The callback, or None."""
    if callback is not None and not callable(callback):
        raise ValueError(
            "callback must be None or a function that is called as callback(row, piece); "
            f"received {_described(callback)}"
        )
    return callback


def _without_arrays(name, value):
    """Lists and Python's own values in place of arrays and tensors of them; any other value as it is."""
    if isinstance(value, str) or not hasattr(value, "__array__"):
        return value
    try:
        values = np.asarray(value.numpy() if hasattr(value, "numpy") else value).tolist()
    except Exception:
        # A tensor of a graph has no value yet.
        return value
    return _decoded(name, values) if tf.is_tensor(value) else values


def _decoded(name, values):
    """Strings in place of the bytes of a string tensor, which is UTF-8 wherever TensorFlow handles text."""
    if isinstance(values, list):
        return [_decoded(name, one) for one in values]
    try:
        return values.decode("utf-8") if isinstance(values, bytes) else values
    except UnicodeDecodeError:
        raise ValueError(f"{name} must be UTF-8; received {short_repr(values)}.") from None


def _exactly_str(text):
    # A subclass, such as NumPy's, would make the result one of its kind.
    return str.__str__(text)


def _described(value):
    return f"{short_repr(value)}." + (" Type .decode() to make a string of bytes." if isinstance(value, bytes) else "")
