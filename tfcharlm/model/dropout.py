"""Dropout with one mask a sequence: what a row, or a matrix, does without for a chunk, from a seed and a counter."""

from typing import NamedTuple

import tensorflow as tf

from tfcharlm.checks import FRACTION, SEED

# Where the keys of a kind of mask begin; those of layers' outputs begin at 0.
INPUTS, RECURRENT = 1 << 20, 1 << 21


class DropoutMasks(NamedTuple):
    """Factors for one chunk, float32; None or nothing where the rate is 0.

    Args:
        inputs: (rows, embedding_dim), of the tokens' vectors.
        outputs: (rows, width) of each layer, of what it hands to the next one.
        recurrent: in the shape of each recurrent kernel, for all rows.
    """

    inputs: tf.Tensor | None = None
    outputs: tuple = ()
    recurrent: tuple = ()


NO_DROPOUT = DropoutMasks()


class SequenceDropout:
    r"""Masks that silence units, or weights, for a whole chunk and scale up the rest.

    $$ m_j = \frac{1}{1 - p} \text{ with probability } 1 - p, \text{ else } 0 $$

    The n-th masks are a function of (seed, n) alone. Replicas that train on other rows of a batch have masks of their
    own. Nothing tracks this object, so the counter is no part of the saved weights.

    Args:
        seed: an integer from 0 to 2^63 - 1.
        dropout: p of the layers' outputs: the share of units that a row does without, from 0 (none) to below 1.
        input_dropout: p of the tokens' vectors.
        weight_drop: p of the weights with which a layer reads its own state, the same ones for all rows.

    Raises:
        ValueError: a rate or the seed is out of range.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.model.dropout import SequenceDropout
    >>> dropout_masks = SequenceDropout(seed=1, dropout=0.5)
    >>> first, second = dropout_masks.draw(2, 4, [3], []), dropout_masks.draw(2, 4, [3], [])
    >>> sorted(set(first.outputs[0].numpy().flatten().tolist()))
    [0.0, 2.0]
    >>> bool(tf.reduce_all(first.outputs[0] == second.outputs[0])), first.inputs is None
    (False, True)

    Reference: Gal & Ghahramani (2016), A theoretically grounded application of dropout in recurrent neural networks;
    Merity, Keskar & Socher (2018), Regularizing and optimizing LSTM language models, for the weights.
    """

    def __init__(self, seed, dropout=0.0, input_dropout=0.0, weight_drop=0.0):
        rates = {"dropout": dropout, "input_dropout": input_dropout, "weight_drop": weight_drop}
        self.rates = {name: FRACTION.check(name, rate, ", such as 0.2") for name, rate in rates.items()}
        self.seed = SEED.check("dropout_seed", seed)
        # Every replica counts for itself, all the same.
        self.counter = tf.Variable(
            0,
            trainable=False,
            dtype=tf.int64,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def draw(self, rows, embedding_dim, widths, kernels):
        """The next `DropoutMasks`.

        Args:
            rows: of the batch.
            embedding_dim: length of a token's vector.
            widths: of the layers' outputs.
            kernels: shapes of the recurrent kernels.
        """
        if not any(self.rates.values()):
            return NO_DROPOUT
        key = tf.stack([tf.constant(self.seed, tf.int64), self.counter.read_value()])
        replica = tf.distribute.get_replica_context()
        if replica is not None and replica.num_replicas_in_sync > 1:
            key = tf.random.fold_in(key, tf.cast(replica.replica_id_in_sync_group, tf.int64), alg="philox")
        self.counter.assign_add(1)

        def masks(name, first, shapes):
            rate = self.rates[name]
            return tuple(_mask(key, first + i, rate, shape) for i, shape in enumerate(shapes)) if rate else ()

        return DropoutMasks(
            next(iter(masks("input_dropout", INPUTS, [(rows, embedding_dim)])), None),
            masks("dropout", 0, [(rows, width) for width in widths]),
            masks("weight_drop", RECURRENT, kernels),
        )


def _mask(key, number, rate, shape):
    # One named algorithm: the default one may differ between devices.
    key = tf.random.fold_in(key, number, alg="philox")
    draws = tf.random.stateless_uniform(shape, key, alg="philox")
    return tf.cast(draws >= rate, tf.float32) / (1 - rate)
