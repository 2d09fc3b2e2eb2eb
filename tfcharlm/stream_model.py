"""Training on streams of text: what `fit` and `evaluate` do with a model whose state goes on from batch to batch."""

import functools
import inspect

import keras
import tensorflow as tf

from tfcharlm.carried import CarriedState
from tfcharlm.checkpoint import Checkpoint
from tfcharlm.chunk import judged, mean_loss, summed, summed_loss, unpacked
from tfcharlm.distributed import Replicas
from tfcharlm.guard import unless_updated, with_guard
from tfcharlm.kernels import in_chains
from tfcharlm.metrics import BitsPerCharacter, Perplexity, TokenMean
from tfcharlm.watch import Watch, not_finite, not_squarable, standing


class StreamModel(keras.Model):
    """A Keras model that predicts the next token of parallel streams.

    A subclass has `initial_state(batch_size)` and `step(tokens, states, mask, training) -> (logits, states)`, and calls
    `prepare_streams` at the end of its constructor.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.replicas = Replicas()
        self.watch = Watch()
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

    @property
    def carried_variables(self):
        """The states with which the next chunks of training and validation begin; no part of the saved weights."""
        return self._training_states.variables + self._test_states.variables

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
        named = self._as_replicas("fit", x, named) | {"shuffle": shuffle}
        options = inspect.signature(super().fit).bind(x, *arguments, **named).arguments
        options["callbacks"] = with_guard(options.get("callbacks"))
        checkpoint = next((c for c in options["callbacks"] if isinstance(c, Checkpoint)), None)
        with unless_updated(self):
            if checkpoint is None:
                return super().fit(**options)
            return checkpoint.fit(self, super().fit, options.pop("x"), options)

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
        if not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        gradients, read, ends = self._gradients(data, mean_loss)
        sums, bad = self._sums(data, *read), self._bad(ends)

        def keep():
            self._keep(ends)
            self._measured(data, *read)

        # In a replica Keras adds gradients up over all of them, though there be one, by a function that TensorFlow
        # keeps for ever, and the whole graph with it.
        tf.distribute.get_replica_context().merge_call(lambda strategy: self._update(gradients, sums, bad, keep))
        return self.get_metrics_result()

    def test_step(self, data):
        read, ends = self._read(data, training=False)
        self._keep(ends, training=False)
        self._count(self._sums(data, *read))
        return self._measured(data, *read)

    def make_train_function(self, force=False):
        """The function that `fit` calls for every batch; with a strategy, that of all replicas together."""
        if not self.replicas:
            return super().make_train_function(force)
        if self.train_function is None or force:
            # From the first half of a step's graph to the second: each replica's states.
            ends = {}
            halves = (functools.partial(half, ends) for half in (self._train_on_rows, self._train_on_sums))
            self.train_function = self.replicas.step_function(*halves)

    def make_test_function(self, force=False):
        """The function that `evaluate` calls for every batch; with a strategy, that of all replicas together."""
        if not self.replicas:
            return super().make_test_function(force)
        if self.test_function is None or force:
            self.test_function = self.replicas.step_function(self._test_on_rows, self._test_on_sums)

    def _train_on_rows(self, ends, data):
        gradients, read, ends[_replica()] = self._gradients(data, summed_loss)
        # With a batch of any size the shapes of some gradients are found out too late.
        shaped = [tf.ensure_shape(g, v.shape) for g, v in zip(gradients, self.trainable_variables, strict=True)]
        return [*shaped, self._sums(data, *read), self._bad(ends[_replica()])]

    def _train_on_sums(self, ends, gradients_and_sums):
        *gradients, sums, bad = gradients_and_sums
        tokens = sums[0]
        # The optimizer clips the gradient of the whole batch, as it does without a strategy.
        gradients = [tf.math.divide_no_nan(g, tf.cast(tokens, g.dtype)) for g in gradients]
        # What one worker found bad, all do.
        keep = functools.partial(self.replicas.strategy.run, lambda: self._keep(ends.pop(_replica())))
        self._update(gradients, sums, bad > 0, keep)
        return self.get_metrics_result()

    def _test_on_rows(self, data):
        read, ends = self._read(data, training=False)
        self._keep(ends, training=False)
        return [self._sums(data, *read)]

    def _test_on_sums(self, sums):
        self._count(*sums)
        return self.get_metrics_result()

    def _bad(self, ends):
        """Which of what this replica began with, or ended with to go on from, is not finite."""
        return not_finite([*([variable] for variable in standing(self).values()), ends])

    def _update(self, gradients, sums, bad, keep):
        """Does what is left of a step: all of it, or nothing if a number is not finite."""
        names = [*standing(self), "the recurrent state", "the loss"]
        tokens, nats, *_ = tf.unstack(tf.cast(sums, tf.float64))
        loss = mean_loss(nats, tokens, self._penalty())
        bad = [bad, not_finite([[loss]])]
        # One that scales the loss looks at gradients itself, and finds the largest scale by trying.
        scales = isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)
        if not scales:
            names += [f"the gradient of {variable.path}" for variable in self.trainable_variables]
            bad += [not_squarable(gradients)]

        def update():
            pairs = list(zip(gradients, self.trainable_variables, strict=True))
            apply = functools.partial(self.optimizer.apply_gradients, pairs)
            # That one wants to be in a replica.
            tf.distribute.get_strategy().run(apply) if scales else apply()
            self._count(sums)
            keep()

        self.watch.unless_any(tf.concat(bad, axis=0), names, loss, update)

    def _gradients(self, data, loss_of):
        """The gradients of `loss_of(sum of the losses, number of tokens, penalty)`; and what `_read` returns."""
        with tf.GradientTape() as tape:
            read, ends = self._read(data, training=True)
            _, losses, _, weights = read
            loss = loss_of(tf.reduce_sum(losses * weights), tf.reduce_sum(weights), self._penalty())
            scaled_loss = self.optimizer.scale_loss(loss)
        # An embedding's gradient comes as slices, a token's once for every time it occurs; a clipping optimizer would
        # take the norm of those parts and not of their sum.
        gradients = map(tf.convert_to_tensor, tape.gradient(scaled_loss, self.trainable_variables))
        return list(gradients), read, ends

    def _read(self, data, training):
        """Of one chunk: logits (B, T, V); losses in nats, hits (1 where the likeliest token came), weights, all (B, T).

        And the states with which the next chunk goes on, none if it does not.
        """
        tokens, start, mask, targets, weights = unpacked(data)
        carried = self._training_states if training else self._test_states
        states = self.initial_state(tf.shape(tokens)[0]) if start is None else carried.resume(start)
        logits, states = self.step(tokens, states, mask=mask, training=training)
        losses, hits = in_chains(judged, targets, logits)
        weights = tf.ones_like(losses) if weights is None else tf.cast(weights, losses.dtype)
        return (logits, losses, hits, weights), () if start is None else states

    def _keep(self, ends, training=True):
        if ends:
            (self._training_states if training else self._test_states).keep(ends)

    def _penalty(self):
        return tf.add_n(self.losses) if self.losses else 0.0

    def _measured(self, data, logits, losses, hits, weights):
        """What `compile` was given to measure, and all the rest."""
        inputs, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self.compute_metrics(inputs, targets, logits, weights)

    def _sums(self, data, logits, losses, hits, weights):
        """What the metrics count: tokens, nats, hits, characters; float64 (4,), for float32 would lose tokens."""
        _, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
        characters = tf.gather(tf.constant(self._characters, losses.dtype), tf.where(weights != 0, targets, 0))
        return summed((tf.ones_like(losses), losses, hits, characters), weights)

    def _count(self, sums):
        tokens, nats, hits, characters = tf.unstack(tf.cast(sums, tf.float64))
        self._token_loss.add(summed_loss(nats, tokens, self._penalty()), tokens)
        self._token_accuracy.add(hits, tokens)
        self._perplexity.add(nats, tokens)
        self._bits.update_state(nats, characters)


def _replica():
    return int(tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group))
