"""Metrics that count tokens and characters, never batches: whatever the batch size and the padding, the same number."""

import math

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tfcharlm")
class BitsPerCharacter(keras.metrics.Metric):
    r"""Total negative log-likelihood in bits, divided by the number of characters.

    $$ \frac{\sum -\log_2 p(\mathrm{token})}{\sum \mathrm{characters}(\mathrm{token})} $$

    So that models over characters, bytes and words can be compared on the same text. The sums are kept in float64: a
    float32 sum over a million tokens has lost its fourth digit.

    Example:

    >>> metric = BitsPerCharacter()
    >>> metric.update_state(losses=[0.6931472, 2.0794415], characters=[1.0, 3.0])
    >>> round(float(metric.result()), 4)
    1.0
    """

    def __init__(self, name="bits_per_character", dtype="float64"):
        super().__init__(name=name, dtype=dtype)
        self.nats = self.add_variable((), "zeros", name="nats")
        self.characters = self.add_variable((), "zeros", name="characters")

    def update_state(self, losses, characters):
        """Adds losses in nats and the numbers of characters that they stand for; tensors of any shape."""
        self.nats.assign_add(tf.reduce_sum(tf.cast(losses, self.dtype)))
        self.characters.assign_add(tf.reduce_sum(tf.cast(characters, self.dtype)))

    def result(self):
        return tf.math.divide_no_nan(self.nats.value, self.characters.value) / math.log(2)


def characters_per_token(vocabulary):
    """How many characters each token of a vocabulary stands for: float32 (V,).

    A byte counts as a character unless it continues one (10xxxxxx in UTF-8).
    """
    if vocabulary.level == "byte":
        return [float(not 0x80 <= byte < 0xC0) for byte in range(256)]
    return [float(len(token)) for token in vocabulary.tokens]
