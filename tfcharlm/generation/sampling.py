"""From logits to the next id: temperature, top-k, top-p (`sample`), as pure tensor functions of logits and noise."""

import math

import tensorflow as tf

from tfcharlm.generation.debugging import is_debugging
from tfcharlm.generation.sampling_settings import BOUNDS, Sampling


def truncate_logits(logits: tf.Tensor, top_k: tf.Tensor, top_p: tf.Tensor) -> tf.Tensor:
    """Sets the logits that top-k and then top-p exclude to -inf.

    Args:
        logits: (B, V), after the temperature.
        top_k: int32 scalar, or (B, 1); keeps the k most likely ids, and all that tie with the k-th. 0 keeps all.
        top_p: float32 scalar in (0, 1], or (B, 1); keeps the fewest most likely ids whose probabilities add up to at
            least p, and all that tie with the last of them. The probabilities are those after top-k. 1 keeps all.

    Returns:
        (B, V).

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.generation.sampling import truncate_logits
    >>> truncate_logits(tf.constant([[3.0, 1.0, 2.0]]), tf.constant(2), tf.constant(1.0)).numpy()
    array([[  3., -inf,   2.]], dtype=float32)

    Reference: Fan et al. (2018) for top-k; Holtzman et al. (2020) for top-p.
    """
    size = tf.shape(logits)[-1]
    descending = tf.sort(logits, axis=-1, direction="DESCENDING")
    k = tf.where(top_k > 0, tf.minimum(top_k, size), size)
    # TensorFlow's debugger would report every infinite number.
    excluded = logits.dtype.min if is_debugging() else -math.inf
    descending = tf.where(tf.range(size) < k, descending, excluded)
    probabilities = tf.nn.softmax(descending)
    before = tf.cumsum(probabilities, axis=-1, exclusive=True)
    kept = (tf.range(size) < k) & ((before < top_p) | (top_p >= 1.0))
    threshold = tf.reduce_min(tf.where(kept, descending, -excluded), axis=-1, keepdims=True)
    return tf.where(logits >= threshold, logits, excluded)


SPECS = Sampling(
    *(tf.TensorSpec([], tf.int32 if bounds.whole else tf.float32, name) for name, bounds in BOUNDS.items())
)


def sample(logits: tf.Tensor, uniforms: tf.Tensor, sampling: Sampling) -> tf.Tensor:
    r"""The next id of every row, by inversion of the cumulative distribution.

    $$ p = \mathrm{softmax}(\mathrm{logits} / \mathrm{temperature}), \qquad
       \mathrm{id} = \min \{ i : p_0 + \dots + p_i \ge u \} $$

    Args:
        logits: (B, V).
        uniforms: (B,) in (0, 1), from `noise.uniform`.
        sampling: a `Sampling`. With temperature 0 the result is the most likely id, for any noise.

    Returns:
        int32 (B,).

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.generation.sampling import Sampling, sample
    >>> logits = tf.math.log([[0.2, 0.5, 0.3]])
    >>> [int(sample(logits, tf.constant([u]), Sampling())[0]) for u in (0.1, 0.3, 0.9)]
    [0, 1, 2]
    """
    logits = tf.cast(logits, tf.float32)
    temperature, top_p = tf.cast(sampling.temperature, tf.float32), tf.cast(sampling.top_p, tf.float32)
    logits = logits - tf.reduce_max(logits, axis=-1, keepdims=True)
    # The largest logit is 0 now. Even for a very small temperature, the softmax computes no inf - inf.
    scaled = logits / tf.where(temperature > 0, temperature, 1.0)
    scaled = tf.cond(
        tf.logical_or(sampling.top_k > 0, top_p < 1.0),
        lambda: truncate_logits(scaled, sampling.top_k, top_p),
        lambda: scaled,
    )
    drawn = _inverted(scaled, uniforms)
    return tf.where(temperature > 0, drawn, tf.argmax(logits, axis=-1, output_type=tf.int32))


def draw_rows(logits: tf.Tensor, uniforms: tf.Tensor, sampling: Sampling, truncates: bool = True) -> tf.Tensor:
    """The same as `sample`, with settings for each row.

    Args:
        logits: float32 (B, V).
        uniforms: (B,) in (0, 1).
        sampling: a `Sampling` of tensors (B, 1).
        truncates: whether any row may have a `top_k` or a `top_p`. True by default; False is faster.

    Returns:
        int32 (B,).

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.generation.sampling import Sampling, draw_rows
    >>> settings = Sampling(tf.constant([[0.0], [1.0]]), tf.constant([[0], [2]]), tf.constant([[1.0], [1.0]]))
    >>> draw_rows(tf.math.log([[0.2, 0.5, 0.3]] * 2), tf.constant([0.9, 0.9]), settings).numpy()
    array([1, 2], dtype=int32)
    """
    temperature, top_k, top_p = map(tf.convert_to_tensor, sampling)
    logits = logits - tf.reduce_max(logits, axis=-1, keepdims=True)
    scaled = logits / tf.where(temperature > 0, temperature, 1.0)
    if truncates:
        scaled = truncate_logits(scaled, top_k, top_p)
    most_likely = tf.argmax(logits, axis=-1, output_type=tf.int32)
    return tf.where(temperature[:, 0] > 0, _inverted(scaled, uniforms), most_likely)


def _inverted(logits, uniforms):
    """The ids at which the cumulative distribution reaches the uniform numbers."""
    cumulative = tf.cumsum(tf.nn.softmax(logits), axis=-1)
    # Relative to the last sum, which may differ from 1 by rounding. The id then always has a probability above 0.
    below = cumulative < uniforms[:, None] * cumulative[:, -1:]
    return tf.reduce_sum(tf.cast(below, tf.int32), axis=-1)
