"""Dropout of whole sequences of a unit: which units a row does without, from a seed and a counter."""

import tensorflow as tf


class SequenceDropout:
    r"""Masks that silence units of a layer for a whole chunk and scale up the rest.

    $$ m_{bj} = \frac{1}{1 - p} \text{ with probability } 1 - p, \text{ else } 0 $$

    The n-th masks are a function of (seed, n) alone. Replicas that train on other rows of a batch have masks of their
    own. Nothing tracks this object, so the counter is no part of the saved weights.

    Args:
        rate: p, the share of units that a row does without, from 0 (none) to below 1.
        seed: an integer from 0 to 2^63 - 1.

    Raises:
        ValueError: the rate or the seed is out of range.

    Example:

    >>> dropout = SequenceDropout(0.5, seed=1)
    >>> first, second = dropout.masks(2, [3]), dropout.masks(2, [3])
    >>> sorted(set(first[0].numpy().flatten().tolist())), bool(tf.reduce_all(first[0] == second[0]))
    ([0.0, 2.0], False)

    Reference: Gal & Ghahramani (2016), A theoretically grounded application of dropout in recurrent neural networks.
    """

    def __init__(self, rate, seed):
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:
            raise ValueError(f"dropout must be a number from 0 to below 1, such as 0.2; received {rate!r}.")
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise ValueError(f"dropout_seed must be a whole number from 0 to 2^63 - 1; received {seed!r}.")
        self.rate, self.seed = rate, seed
        # Every replica counts for itself, all the same.
        self.counter = tf.Variable(
            0,
            trainable=False,
            dtype=tf.int64,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def masks(self, rows, widths):
        """The next masks, one a layer: float32 (rows, width); none at a rate of 0."""
        if not self.rate:
            return ()
        replica = tf.distribute.get_replica_context()
        key = tf.stack([tf.constant(self.seed, tf.int64), self.counter.read_value()])
        if replica is not None and replica.num_replicas_in_sync > 1:
            key = tf.random.fold_in(key, tf.cast(replica.replica_id_in_sync_group, tf.int64), alg="philox")
        self.counter.assign_add(1)
        return tuple(
            self._mask(tf.random.fold_in(key, layer, alg="philox"), (rows, width)) for layer, width in enumerate(widths)
        )

    def _mask(self, key, shape):
        # One named algorithm: the default one may differ between devices.
        draws = tf.random.stateless_uniform(shape, key, alg="philox")
        return tf.cast(draws >= self.rate, tf.float32) / (1 - self.rate)
