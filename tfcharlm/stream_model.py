"""Training on streams of text: what `fit` and `evaluate` do with a model whose state goes on from batch to batch."""

import keras
import tensorflow as tf

from tfcharlm.carried import CarriedState
from tfcharlm.distributed import Replicas
from tfcharlm.kernels import in_chains
from tfcharlm.metrics import BitsPerCharacter, Perplexity, TokenMean


class StreamModel(keras.Model):
    """A Keras model that predicts the next token of parallel streams.

    A subclass has `initial_state(batch_size)` and `step(tokens, states, mask, training) -> (logits, states)`, and calls
    `prepare_streams` at the end of its constructor.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.replicas = Replicas()
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
        self.replicas.check_compile(kwargs)
        with self.replicas.scope():
            super().compile(optimizer=optimizer, **kwargs)
            if self.replicas:
                self.optimizer.build(self.trainable_variables)

    @property
    def distribute_strategy(self):
        # Keras would hand rows out itself, anew in every batch, and add metrics up as if they were averages. It sees
        # one process here; `step_function` is where the replicas are.
        return tf.distribute.get_strategy()

    def fit(self, x=None, *arguments, shuffle=None, **named):
        """Trains, as `keras.Model.fit` does. A data set keeps its order, arrays are shuffled unless told otherwise.

        Under a strategy every worker calls it with the same data set, and each replica reads its own rows.
        """
        # Keras warns when it is asked, as by default, to shuffle a data set.
        shuffle = not isinstance(x, tf.data.Dataset) if shuffle is None else shuffle
        return super().fit(x, *arguments, shuffle=shuffle, **self._as_replicas("fit", x, named))

    def evaluate(self, x=None, *arguments, **named):
        """Measures, as `keras.Model.evaluate` does; under a strategy every worker calls it, as with `fit`."""
        return super().evaluate(x, *arguments, **self._as_replicas("evaluate", x, named))

    def _as_replicas(self, verb, x, arguments):
        self.replicas.check(x, verb)
        return arguments if self.replicas.is_chief else arguments | {"verbose": 0}

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    @property
    def metrics(self):
        # Keras's own loss tracker weights a batch by its rows; ours counts tokens and takes its place and name.
        return [m for m in super().metrics if m.name != "loss" or m is self._token_loss]

    def train_step(self, data):
        gradients, read = self._gradients(data, _mean_loss)

        def update(strategy):
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))

        # In a replica Keras adds gradients up over all of them, though there be one, by a function that TensorFlow
        # keeps for ever, and the whole graph with it.
        tf.distribute.get_replica_context().merge_call(update)
        return self._updated_metrics(data, *read)

    def test_step(self, data):
        return self._updated_metrics(data, *self._read(data, training=False))

    def make_train_function(self, force=False):
        """The function that `fit` calls for every batch; with a strategy, that of all replicas together."""
        if not self.replicas:
            return super().make_train_function(force)
        if self.train_function is None or force:
            self.train_function = self.replicas.step_function(self._train_on_rows, self._train_on_sums)

    def make_test_function(self, force=False):
        """The function that `evaluate` calls for every batch; with a strategy, that of all replicas together."""
        if not self.replicas:
            return super().make_test_function(force)
        if self.test_function is None or force:
            self.test_function = self.replicas.step_function(self._test_on_rows, self._test_on_sums)

    def _train_on_rows(self, data):
        gradients, read = self._gradients(data, _summed_loss)
        # With a batch of any size the shapes of some gradients are found out too late.
        shaped = [tf.ensure_shape(g, v.shape) for g, v in zip(gradients, self.trainable_variables, strict=True)]
        return [*shaped, self._sums(data, *read)]

    def _train_on_sums(self, gradients_and_sums):
        *gradients, sums = gradients_and_sums
        tokens = sums[0]
        # The optimizer clips the gradient of the whole batch, as it does without a strategy.
        gradients = [tf.math.divide_no_nan(g, tf.cast(tokens, g.dtype)) for g in gradients]
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        self._count(sums)
        return self.get_metrics_result()

    def _test_on_rows(self, data):
        return [self._sums(data, *self._read(data, training=False))]

    def _test_on_sums(self, sums):
        self._count(*sums)
        return self.get_metrics_result()

    def _gradients(self, data, loss_of):
        """The gradients of `loss_of(sum of the losses, number of tokens, penalty)`, and what was read."""
        with tf.GradientTape() as tape:
            logits, losses, hits, weights = self._read(data, training=True)
            loss = loss_of(tf.reduce_sum(losses * weights), tf.reduce_sum(weights), self._penalty())
            scaled_loss = self.optimizer.scale_loss(loss)
        # An embedding's gradient comes as slices, a token's once for every time it occurs; a clipping optimizer would
        # take the norm of those parts and not of their sum.
        gradients = map(tf.convert_to_tensor, tape.gradient(scaled_loss, self.trainable_variables))
        return list(gradients), (logits, losses, hits, weights)

    def _read(self, data, training):
        """Of one chunk: logits (B, T, V); losses in nats, hits (1 where the likeliest token came), weights, all (B, T).

        The states go on to the next chunk.
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

    def _updated_metrics(self, data, logits, losses, hits, weights):
        inputs, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
        self._count(self._sums(data, logits, losses, hits, weights))
        return self.compute_metrics(inputs, targets, logits, weights)

    def _sums(self, data, logits, losses, hits, weights):
        """What the metrics count: tokens, nats, hits, characters; float64 (4,), for float32 would lose tokens."""
        _, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
        characters = tf.gather(tf.constant(self._characters, losses.dtype), tf.where(weights != 0, targets, 0))
        weights = tf.cast(weights, tf.float64)
        counted = (tf.ones_like(losses), losses, hits, characters)
        return tf.stack([tf.reduce_sum(tf.cast(values, tf.float64) * weights) for values in counted])

    def _count(self, sums):
        tokens, nats, hits, characters = tf.unstack(tf.cast(sums, tf.float64))
        self._token_loss.add(nats + tokens * tf.cast(self._penalty(), tf.float64), tokens)
        self._token_accuracy.add(hits, tokens)
        self._perplexity.add(nats, tokens)
        self._bits.update_state(nats, characters)


def _mean_loss(total, tokens, penalty):
    return tf.math.divide_no_nan(total, tokens) + penalty


def _summed_loss(total, tokens, penalty):
    """Added up over replicas and divided by all their tokens, the same."""
    return total + tokens * penalty


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
