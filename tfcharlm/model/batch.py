"""A chunk of parallel streams: what a data set gives of it, and what is counted of the model's answer."""

import keras
import tensorflow as tf


def unpack_batch(data):
    """What a data set gives of a chunk.

    Returns:
        `(tokens, start, mask, targets, weights)`: ids (B, T); bool (B,) or None; bool (B, T), False in
        padding, or None; ids (B, T), 0 where they do not count; (B, T) or None.
    """
    inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(data)
    if not isinstance(inputs, dict):
        inputs = {"tokens": inputs}
    tokens, start, mask = inputs["tokens"], inputs.get("start"), None
    if weights is not None:
        weights = _by_token(weights, tokens)
        counts = tf.not_equal(weights, 0)
        # Up to the last target that counts, a token is context; after it comes padding, which may be anything.
        mask = tf.cumsum(tf.cast(counts, tf.int32), axis=1, reverse=True) > 0
        targets = tf.where(counts, targets, 0)
    return tokens, start, mask, targets, weights


def _by_token(weights, tokens):
    """Weights as numbers (B, T), from one a token, (B, T), or one a row, (B,) or (B, 1); a mask is weights too."""
    if weights.dtype == tf.bool:
        weights = tf.cast(weights, tf.float32)
    if len(weights.shape) == 1:
        weights = weights[:, None]
    return tf.broadcast_to(weights, tf.shape(tokens))


def token_losses(targets, logits):
    """Losses in nats, and 1 where the likeliest token is the target; both (B, T)."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
    likeliest = tf.argmax(logits, axis=-1, output_type=targets.dtype)
    return losses, tf.cast(likeliest == targets, losses.dtype)


def weighted_sums(values, weights):
    """The sums of values (B, T) with their weights (B, T), as float64 (n,)."""
    weights = tf.cast(weights, tf.float64)
    return tf.stack([tf.reduce_sum(tf.cast(value, tf.float64) * weights) for value in values])


def mean_loss(total, tokens, penalty):
    return tf.math.divide_no_nan(total, tokens) + tf.cast(penalty, total.dtype)


def summed_loss(total, tokens, penalty):
    """Added up over replicas and divided by all their tokens, the same."""
    return total + tokens * tf.cast(penalty, total.dtype)
