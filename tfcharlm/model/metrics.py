"""Metrics that count tokens and characters, never batches: whatever the batch size and the padding, the same number."""

import math

import keras
import tensorflow as tf

# What is added is the sum over all replicas already, so one of their copies is as good as another. Keras's default
# would add the copies up at every reading, in a meeting of all replicas.
ALIKE = "only_first_replica"


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
        self.nats = self.add_variable((), "zeros", self.dtype, ALIKE, name="nats")
        self.characters = self.add_variable((), "zeros", self.dtype, ALIKE, name="characters")

    def update_state(self, losses, characters):
        """Adds losses in nats and the numbers of characters that they stand for; tensors of any shape."""
        self.nats.assign_add(tf.reduce_sum(tf.cast(losses, self.dtype)))
        self.characters.assign_add(tf.reduce_sum(tf.cast(characters, self.dtype)))

    def result(self):
        return tf.math.divide_no_nan(self.nats.value, self.characters.value) / math.log(2)


@keras.saving.register_keras_serializable(package="tfcharlm")
class TokenMean(keras.metrics.Metric):
    r"""The mean of a value over tokens, each with its weight: the same however they are cut into batches.

    $$ \frac{\sum w \cdot \mathrm{value}}{\sum w} $$

    `keras.metrics.Mean` takes the mean of every row first: the tokens of a batch of longer rows would count less.

    Example:

    >>> metric = TokenMean(name="loss")
    >>> metric.update_state([[1.0, 2.0, 3.0]], weights=[[1.0, 1.0, 1.0]])
    >>> metric.update_state([[7.0]], weights=[[1.0]])
    >>> float(metric.result())
    3.25
    """

    def __init__(self, name="mean", dtype="float64"):
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), "zeros", self.dtype, ALIKE, name="total")
        self.weight = self.add_variable((), "zeros", self.dtype, ALIKE, name="weight")

    def update_state(self, values, weights):
        """Adds values and their weights; tensors of one shape, any."""
        values, weights = tf.cast(values, self.dtype), tf.cast(weights, self.dtype)
        self.add(tf.reduce_sum(values * weights), tf.reduce_sum(weights))

    def add(self, total, weight):
        """Adds a sum of weighted values, and the sum of their weights; scalars of the metric's dtype."""
        self.total.assign_add(total)
        self.weight.assign_add(weight)

    def result(self):
        return tf.math.divide_no_nan(self.total.value, self.weight.value)


@keras.saving.register_keras_serializable(package="tfcharlm")
class Perplexity(TokenMean):
    r"""The exponential of the mean negative log-likelihood: among how many equally likely tokens the model chooses.

    $$ \exp\left(\frac{\sum w \cdot -\ln p(\mathrm{token})}{\sum w}\right) $$

    The mean is over all tokens, and only then comes the exponential: a mean of the perplexities of batches is another
    number, and a larger one.

    Example:

    >>> metric = Perplexity()
    >>> metric.update_state([0.6931472, 2.0794415], weights=[1.0, 1.0])
    >>> round(float(metric.result()), 4)
    4.0

    Reference: Jelinek et al. (1977), Perplexity, a measure of the difficulty of speech recognition tasks.
    """

    def __init__(self, name="perplexity", dtype="float64"):
        super().__init__(name=name, dtype=dtype)

    def result(self):
        return tf.exp(super().result())
