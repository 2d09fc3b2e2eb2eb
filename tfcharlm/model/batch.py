"""One batch, a chunk of parallel streams: its parts, and the losses and sums that are computed of the logits."""

from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from tfcharlm.model.arrays import check_shapes
from tfcharlm.model.inputs import token_ids, tokens_and_start


def unpack_batch(
    data: Any,
) -> tuple[tf.Tensor, tf.Tensor | None, tf.Tensor | None, tf.Tensor, tf.Tensor | None]:
    """The parts of a batch.

    Args:
        data: `(inputs, targets)` or `(inputs, targets, weights)`, as a data set yields them. The inputs are tokens
            (B, T), or a dictionary with the keys "tokens" and perhaps "start".

    Returns:
        `(tokens, start, mask, targets, weights)`: ids (B, T); bool (B,) or None; bool (B, T), False in
        padding, or None; ids (B, T), 0 where the weight is 0; (B, T) or None.
    """
    inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(data)
    tokens, start = tokens_and_start(inputs)
    if targets is None:
        raise ValueError(
            "a batch must be (tokens, targets) or (tokens, targets, weights), with the token after each token as its "
            "target; received no targets."
        )
    check_shapes(*(None if part is None else part.shape for part in (tokens, targets, weights, start)))
    tokens, targets, mask = token_ids(tokens), token_ids(_with_two_axes(targets), "y"), None
    if weights is not None:
        weights = _weights_of_tokens(weights, tokens)
        counts = tf.not_equal(weights, 0)
        # Up to the last target that counts, a token is context; after it comes padding, which may be anything.
        mask = tf.cumsum(tf.cast(counts, tf.int32), axis=1, reverse=True) > 0
        targets = tf.where(counts, targets, 0)
    return tokens, start, mask, targets, weights


def _with_two_axes(tensor):
    """(B, T) of a tensor (B, T) or (B, T, 1); (B, 1) of a tensor (B,)."""
    tensor = tf.convert_to_tensor(tensor)
    return tensor if tensor.shape.rank == 2 else tf.reshape(tensor, (tf.shape(tensor)[0], -1))


def _weights_of_tokens(weights, tokens):
    """Numbers (B, T), from weights (B, T), (B, 1) or (B,), which may be a mask."""
    weights = _with_two_axes(weights)
    if weights.dtype == tf.bool:
        weights = tf.cast(weights, tf.float32)
    return tf.broadcast_to(weights, tf.shape(tokens))


def token_losses(targets: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Losses in nats, and hits, 1 where the most likely token is the target; both (B, T).

    Args:
        targets: ids (B, T).
        logits: (B, T, V); or those of several networks, (B, T, members, V). Their losses are averaged, so that each
            network learns by itself.
    """
    if logits.shape.rank == 4:
        per_member = tf.repeat(targets[..., None], logits.shape[2], axis=2)
        _, hits = token_losses(targets, tf.reduce_mean(logits, axis=2))
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(per_member, logits)
        return tf.reduce_mean(losses, axis=2), hits
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
    most_likely = tf.argmax(logits, axis=-1, output_type=targets.dtype)
    return losses, tf.cast(most_likely == targets, losses.dtype)


def weighted_sums(values: Iterable[tf.Tensor], weights: tf.Tensor) -> tf.Tensor:
    """The sums of n values (B, T) with their weights (B, T), as float64 (n,)."""
    weights = tf.cast(weights, tf.float64)
    return tf.stack([tf.reduce_sum(tf.cast(value, tf.float64) * weights) for value in values])


def mean_loss(total: tf.Tensor, tokens: tf.Tensor, penalty: tf.Tensor | float) -> tf.Tensor:
    """The mean loss of the tokens, plus the penalty of regularizers."""
    return tf.math.divide_no_nan(total, tokens) + tf.cast(penalty, total.dtype)


def summed_loss(total: tf.Tensor, tokens: tf.Tensor, penalty: tf.Tensor | float) -> tf.Tensor:
    """The number of tokens times `mean_loss`. Summed over replicas and divided by all tokens, it is their mean loss."""
    return total + tokens * tf.cast(penalty, total.dtype)
