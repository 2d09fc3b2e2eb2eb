"""How large the gradients of a model usually are: what dynamic evaluation divides its steps by."""

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from tfcharlm.generation.graph import TextGraph
from tfcharlm.generation.loop import DECODE_BLOCK

# Twice as many texts of the model's own gave the same losses (docs/dynamic-evaluation.md).
ROWS = 16


def own_texts(graph: TextGraph) -> np.ndarray:
    """Texts that a model writes itself, always the same ones: ids int32 (16, 512)."""
    newline = tf.constant([graph.vocabulary.line_start or [0]] * ROWS)
    # The first token is the newline; without one in the vocabulary, every token is as likely as the others.
    first = graph.certain_logits(newline)
    first = first if graph.vocabulary.line_start else tf.zeros_like(first)
    seeds, sampling = tf.range(ROWS, dtype=tf.int64), (tf.constant(1.0), tf.constant(0), tf.constant(1.0))
    count = tf.constant(DECODE_BLOCK)
    ids, *_ = graph.decode(seeds, tf.constant(0), count, sampling, first, *graph.initial_state(ROWS))
    return ids.numpy()


def gradient_scale(squares: Sequence[np.ndarray]) -> list[np.ndarray]:
    r"""The root mean squares of gradients from the means of their squares.

    The means of a matrix are replaced by the product of the means of its rows and columns, which are less noisy:

    $$ v_{ij} = \sqrt{\frac{\bar q_{i \cdot} \, \bar q_{\cdot j}}{\bar q}} $$

    Args:
        squares: the means q of the squares, an array for every variable.

    Returns:
        An array v of the same shape for each.

    Example:

    >>> import numpy as np
    >>> from tfcharlm.generation.gradient_scale import gradient_scale
    >>> gradient_scale([np.array([[1.0, 4.0], [4.0, 16.0]]), np.array([2.25, 2.25])])
    [array([[1., 2.],
           [2., 4.]]), array([1.5, 1.5])]

    Reference: Shazeer & Stern (2018), Adafactor, section 3.
    """
    return [np.sqrt(_factored(np.asarray(square, np.float64))) for square in squares]


def _factored(square):
    if square.ndim < 2 or not square.any():
        return square
    rows = square.mean(axis=tuple(range(1, square.ndim)), keepdims=True)
    return rows * square.mean(axis=0, keepdims=True) / square.mean()


def pieces(ids: np.ndarray, length: int, rows: int = ROWS) -> Iterator[np.ndarray]:
    """Pieces of a text, evenly spaced: all of it if it is short.

    Example:

    >>> import numpy as np
    >>> from tfcharlm.generation.gradient_scale import pieces
    >>> [piece.tolist() for piece in pieces(np.arange(10), length=3, rows=2)], len(list(pieces(np.arange(5), 9)))
    ([[0, 1, 2], [7, 8, 9]], 1)
    """
    if len(ids) <= length * rows:
        yield ids
        return
    for begin in np.linspace(0, len(ids) - length, rows).astype(int):
        yield ids[begin : begin + length]
