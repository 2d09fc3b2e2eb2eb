"""Metrics that count tokens and characters, not batches: batch size and padding do not change the number."""

import math
from typing import Any

import keras
import tensorflow as tf

# What is added is the sum over all replicas already, so one of their copies is as good as another. Keras's default
# would add up the copies at every reading, and all replicas would have to meet for it.
ALIKE = "only_first_replica"


@keras.saving.register_keras_serializable(package="tfcharlm")
class BitsPerCharacter(keras.metrics.Metric):
    r"""Total negative log-likelihood in bits, divided by the number of characters.

    $$ \frac{\sum -\log_2 p(\mathrm{token})}{\sum \mathrm{characters}(\mathrm{token})} $$

    With it, models over characters, bytes and words can be compared on the same text. The sums are kept in float64: a
    float32 sum over a million tokens has lost its fourth digit.

    Args:
        name: the name of the metric.
        dtype: of the sums.

    Example:

    >>> from tfcharlm.model.metrics import BitsPerCharacter
    >>> metric = BitsPerCharacter()
    >>> metric.update_state(losses=[0.6931472, 2.0794415], characters=[1.0, 3.0])
    >>> round(float(metric.result()), 4)
    1.0
    """

    def __init__(self, name: str = "bits_per_character", dtype: str = "float64") -> None:
        super().__init__(name=name, dtype=dtype)
        self.nats = self.add_variable((), "zeros", self.dtype, ALIKE, name="nats")
        self.characters = self.add_variable((), "zeros", self.dtype, ALIKE, name="characters")

    def update_state(self, losses: Any, characters: Any) -> None:
        """Adds losses in nats, and how many characters they are for; tensors of any shape."""
        self.nats.assign_add(tf.reduce_sum(tf.cast(losses, self.dtype)))
        self.characters.assign_add(tf.reduce_sum(tf.cast(characters, self.dtype)))

    def result(self) -> tf.Tensor:
        """Bits per character, a scalar; 0 before the first update."""
        return tf.math.divide_no_nan(self.nats.value, self.characters.value) / math.log(2)


@keras.saving.register_keras_serializable(package="tfcharlm")
class TokenMean(keras.metrics.Metric):
    r"""The weighted mean of a value over tokens; it does not depend on how they are cut into batches.

    $$ \frac{\sum w \cdot \mathrm{value}}{\sum w} $$

    `keras.metrics.Mean` takes the mean of every row first: the tokens of a batch with longer rows would count less.

    Args:
        name: the name of the metric.
        dtype: of the sums.

    Example:

    >>> from tfcharlm.model.metrics import TokenMean
    >>> metric = TokenMean(name="loss")
    >>> metric.update_state([[1.0, 2.0, 3.0]], weights=[[1.0, 1.0, 1.0]])
    >>> metric.update_state([[7.0]], weights=[[1.0]])
    >>> float(metric.result())
    3.25
    """

    def __init__(self, name: str = "mean", dtype: str = "float64") -> None:
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), "zeros", self.dtype, ALIKE, name="total")
        self.weight = self.add_variable((), "zeros", self.dtype, ALIKE, name="weight")

    def update_state(self, values: Any, weights: Any) -> None:
        """Adds values and their weights; two tensors of the same shape."""
        values, weights = tf.cast(values, self.dtype), tf.cast(weights, self.dtype)
        self.add(tf.reduce_sum(values * weights), tf.reduce_sum(weights))

    def add(self, total: tf.Tensor, weight: tf.Tensor) -> None:
        """Adds a sum of weighted values and the sum of their weights; scalars of the metric's dtype."""
        self.total.assign_add(total)
        self.weight.assign_add(weight)

    def result(self) -> tf.Tensor:
        """The mean, a scalar; 0 before the first update."""
        return tf.math.divide_no_nan(self.total.value, self.weight.value)


@keras.saving.register_keras_serializable(package="tfcharlm")
class Perplexity(TokenMean):
    r"""The exponential of the mean negative log-likelihood: among how many equally likely tokens the model chooses.

    $$ \exp\left(\frac{\sum w \cdot -\ln p(\mathrm{token})}{\sum w}\right) $$

    First comes the mean over all tokens, then the exponential. The mean of the perplexities of batches is another
    number, and a larger one.

    Args:
        name: the name of the metric.
        dtype: of the sums.

    Example:

    >>> from tfcharlm.model.metrics import Perplexity
    >>> metric = Perplexity()
    >>> metric.update_state([0.6931472, 2.0794415], weights=[1.0, 1.0])
    >>> round(float(metric.result()), 4)
    4.0

    Reference: Jelinek et al. (1977), Perplexity, a measure of the difficulty of speech recognition tasks.
    """

    def __init__(self, name: str = "perplexity", dtype: str = "float64") -> None:
        super().__init__(name=name, dtype=dtype)

    def result(self) -> tf.Tensor:
        """The perplexity, a scalar; 1 before the first update."""
        return tf.exp(super().result())
