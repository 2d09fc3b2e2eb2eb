"""Dropout with one mask for a whole chunk of a row, or for a whole weight matrix, drawn from a seed and a counter."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from tfcharlm.checks import FRACTION, SEED

# The first key of each kind of mask; those of the layers' outputs start at 0.
INPUTS, RECURRENT = 1 << 20, 1 << 21


class DropoutMasks(NamedTuple):
    """Factors for one chunk, float32; None or empty where the rate is 0.

    Args:
        inputs: for the token vectors, (rows, embedding_dim).
        outputs: for what each layer hands to the next one, (rows, width) each.
        recurrent: for the recurrent weight matrices, in their shapes; the same for all rows.
    """

    inputs: tf.Tensor | None = None
    outputs: tuple[tf.Tensor, ...] = ()
    recurrent: tuple[tf.Tensor, ...] = ()


NO_DROPOUT = DropoutMasks()


class SequenceDropout:
    r"""Masks that drop units, or weights, for a whole chunk and scale up the rest.

    $$ m_j = \frac{1}{1 - p} \text{ with probability } 1 - p, \text{ else } 0 $$

    The n-th masks are a function of (seed, n) alone. Replicas train on different rows of a batch, so each has masks of
    its own. Keras does not track this object, so the counter is not part of the saved weights.

    Args:
        seed: an integer from 0 to 2^63 - 1.
        dropout: p for the layers' outputs: the fraction of units that is dropped, from 0 (none) to below 1.
        input_dropout: p for the token vectors.
        weight_drop: p for the weights with which a layer reads its own state; one mask for all rows.

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

    def __init__(self, seed: int, dropout: float = 0.0, input_dropout: float = 0.0, weight_drop: float = 0.0) -> None:
        rates = {"dropout": dropout, "input_dropout": input_dropout, "weight_drop": weight_drop}
        self.rates = {name: FRACTION.check(name, rate, ", such as 0.2") for name, rate in rates.items()}
        self.seed = SEED.check("dropout_seed", seed)
        # Each replica has a counter of its own, and all of them count alike.
        self.counter = tf.Variable(
            0,
            trainable=False,
            dtype=tf.int64,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def draw(
        self, rows: int | tf.Tensor, embedding_dim: int, widths: Sequence[int], kernels: Sequence[Sequence[int]]
    ) -> DropoutMasks:
        """Draws the next masks, and advances the counter.

        Args:
            rows: the batch size.
            embedding_dim: length of a token's vector.
            widths: sizes of the layers' outputs.
            kernels: shapes of the recurrent weight matrices.

        Returns:
            The `DropoutMasks`; `NO_DROPOUT` if all rates are 0.
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
