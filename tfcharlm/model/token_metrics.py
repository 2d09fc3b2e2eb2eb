"""The metrics of a model over streams of text: what a step counts, and the metrics that `compile` was given."""

from typing import Any, NoReturn

import keras
import tensorflow as tf

from tfcharlm.model.batch import summed_loss, unpack_batch, weighted_sums
from tfcharlm.model.metrics import BitsPerCharacter, Perplexity, TokenMean


class TokenMetrics(keras.Model):
    """A base of `StreamModel`: loss, accuracy, perplexity and bits per character over tokens."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._token_loss = TokenMean(name="loss")
        self._token_accuracy = TokenMean(name="accuracy")
        self._perplexity = Perplexity()
        self._bits = BitsPerCharacter()

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """All metrics of the model: its own, then those of `compile`, which replace one of the same name in results.

        `loss` counts tokens, where Keras's own would weight a batch by its rows.
        """
        own = [self._token_loss, self._token_accuracy, self._perplexity, self._bits]
        return own + [m for m in super().metrics if m.name != "loss" and all(m is not mine for mine in own)]

    @property
    def compiled_metrics(self) -> NoReturn:
        """Not supported; it raises a NotImplementedError. Keras keeps it for code that was written for Keras 2."""
        raise NotImplementedError(
            "compiled_metrics is not supported. Type model.compute_metrics(x, y, y_pred, sample_weight), which updates "
            "the metrics that compile was given."
        )

    def build_metrics(self, batch: Any) -> None:
        """Makes the variables of the metrics that `compile` was given. Keras would make them with the first batch."""
        inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(batch)
        logits = tf.zeros((*targets.shape, len(self.vocabulary)))
        with self.replicas.scope():
            self.compute_metrics(inputs, targets, logits, weights)

    def _compute_metrics(self, data, logits, losses, hits, weights):
        """The metrics that `compile` was given, and our own."""
        inputs, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self.compute_metrics(inputs, targets, logits, weights)

    def _sums(self, data, logits, losses, hits, weights):
        """The sums for the metrics: tokens, nats, hits, characters; float64 (4,), because float32 would lose tokens."""
        *_, targets, _ = unpack_batch(data)
        characters = tf.gather(tf.constant(self.vocabulary.characters_per_token, losses.dtype), targets)
        return weighted_sums((tf.ones_like(losses), losses, hits, characters), weights)

    def _count(self, sums):
        tokens, nats, hits, characters = tf.unstack(tf.cast(sums, tf.float64))
        self._token_loss.add(summed_loss(nats, tokens, self._penalty()), tokens)
        self._token_accuracy.add(hits, tokens)
        self._perplexity.add(nats, tokens)
        self._bits.update_state(nats, characters)

    def _penalty(self):
        """The sum of the regularizers."""
        return tf.add_n(self.losses) if self.losses else 0.0
