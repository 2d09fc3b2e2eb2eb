"""Training on streams of text: what `fit` and `evaluate` do with a model whose state goes on from batch to batch."""

import keras
import tensorflow as tf

from tfcharlm.carried import CarriedState
from tfcharlm.kernels import in_chains
from tfcharlm.metrics import BitsPerCharacter, Perplexity, TokenMean


class StreamModel(keras.Model):
    """A Keras model that predicts the next token of parallel streams.

    A subclass has `initial_state(batch_size)` and `step(tokens, states, mask, training) -> (logits, states)`, and calls
    `prepare_streams` at the end of its constructor.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        # Tokens are integers, and layers cast their own: a table is the same to a layer here as inside `call`.
        self.autocast = False
        self._token_loss = TokenMean(name="loss")
        self._token_accuracy = TokenMean(name="accuracy")
        self._perplexity = Perplexity()
        self._bits = BitsPerCharacter()

    def prepare_streams(self, characters):
        """Makes the states to carry, for which the layers must exist.

        Args:
            characters: how many characters each id stands for, floats (V,).
        """
        self._characters = characters
        # Two, so that a validation in the middle of training does not disturb it.
        self._training_states = CarriedState(self.initial_state)
        self._test_states = CarriedState(self.initial_state)

    def compile(self, optimizer="adam", **kwargs):
        """Configures training, as `keras.Model.compile` does. The loss is the model's own and cannot be replaced."""
        if kwargs.get("loss") is not None:
            raise ValueError(
                f"CharLM has its loss built in, the cross-entropy of the next token; received loss={kwargs['loss']!r}. "
                "Type model.compile(optimizer=...) without it."
            )
        super().compile(optimizer=optimizer, **kwargs)

    def fit(self, x=None, *arguments, shuffle=None, **named):
        """Trains, as `keras.Model.fit` does. A data set keeps its order, arrays are shuffled unless told otherwise."""
        # Keras warns when it is asked, as by default, to shuffle a data set.
        shuffle = not isinstance(x, tf.data.Dataset) if shuffle is None else shuffle
        return super().fit(x, *arguments, shuffle=shuffle, **named)

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    @property
    def metrics(self):
        # Keras's own loss tracker weights a batch by its rows; ours counts tokens and takes its place and name.
        return [m for m in super().metrics if m.name != "loss" or m is self._token_loss]

    def train_step(self, data):
        inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            logits, losses, hits, weights = self._read(inputs, targets, weights, training=True)
            loss = tf.math.divide_no_nan(tf.reduce_sum(losses * weights), tf.reduce_sum(weights)) + self._penalty()
            scaled_loss = self.optimizer.scale_loss(loss)
        variables = self.trainable_variables
        # An embedding's gradient comes as slices, a token's once for every time it occurs; a clipping optimizer would
        # take the norm of those parts and not of their sum.
        gradients = map(tf.convert_to_tensor, tape.gradient(scaled_loss, variables))
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return self._updated_metrics(inputs, targets, logits, losses, hits, weights)

    def test_step(self, data):
        inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(data)
        logits, losses, hits, weights = self._read(inputs, targets, weights, training=False)
        return self._updated_metrics(inputs, targets, logits, losses, hits, weights)

    def _read(self, inputs, targets, weights, training):
        """Of one chunk: logits (B, T, V); losses in nats, hits (1 where the likeliest token came), weights, all (B, T).

        The states go on to the next chunk.
        """
        if not isinstance(inputs, dict):
            inputs = {"tokens": inputs}
        tokens, start, mask = inputs["tokens"], inputs.get("start"), None
        if weights is not None:
            weights = _by_token(weights, tokens)
            counts = tf.not_equal(weights, 0)
            # Up to the last target that counts, a token is context; after it comes padding, which may be anything.
            mask = tf.cumsum(tf.cast(counts, tf.int32), axis=1, reverse=True) > 0
            targets = tf.where(counts, targets, 0)
        carried = self._training_states if training else self._test_states
        states = self.initial_state(tf.shape(tokens)[0]) if start is None else carried.resume(start)
        logits, states = self.step(tokens, states, mask=mask, training=training)
        if start is not None:
            carried.keep(states)
        losses, hits = in_chains(_judged, targets, logits)
        weights = tf.ones_like(losses) if weights is None else tf.cast(weights, losses.dtype)
        return logits, losses, hits, weights

    def _penalty(self):
        return tf.add_n(self.losses) if self.losses else 0.0

    def _updated_metrics(self, inputs, targets, logits, losses, hits, weights):
        self._token_loss.update_state(losses + self._penalty(), weights)
        self._token_accuracy.update_state(hits, weights)
        self._perplexity.update_state(losses, weights)
        characters = tf.gather(tf.constant(self._characters, losses.dtype), tf.where(weights != 0, targets, 0))
        self._bits.update_state(losses * weights, characters * weights)
        return self.compute_metrics(inputs, targets, logits, weights)


def _judged(targets, logits):
    """Losses in nats, and 1 where the likeliest token is the target; both (B, T)."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
    likeliest = tf.argmax(logits, axis=-1, output_type=targets.dtype)
    return losses, tf.cast(likeliest == targets, losses.dtype)


def _by_token(weights, tokens):
    """Weights as numbers (B, T), from one a token, (B, T), or one a row, (B,) or (B, 1); a mask is weights too."""
    if weights.dtype == tf.bool:
        weights = tf.cast(weights, tf.float32)
    if len(weights.shape) == 1:
        weights = weights[:, None]
    return tf.broadcast_to(weights, tf.shape(tokens))
