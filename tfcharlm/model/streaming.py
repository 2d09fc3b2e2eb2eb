"""Training on streams of text: what `fit` and `evaluate` do with a model whose state goes on from batch to batch."""

import functools
import inspect

import keras
import tensorflow as tf

from tfcharlm.kernels import map_shards
from tfcharlm.model.batch import mean_loss, summed_loss, token_losses, unpack_batch, weighted_sums
from tfcharlm.model.carried_state import CarriedState
from tfcharlm.model.guard import unless_updated, with_guard
from tfcharlm.model.metrics import BitsPerCharacter, Perplexity, TokenMean
from tfcharlm.model.nonfinite import NonFiniteMonitor, checked_variables, nonfinite_groups, not_squarable
from tfcharlm.model.replicas import Replicas
from tfcharlm.model.replicated_steps import ReplicatedSteps
from tfcharlm.model.run_state import RunState


class StreamModel(ReplicatedSteps, keras.Model):
    """A Keras model that predicts the next token of parallel streams.

    A subclass has `vocabulary`, `initial_state(batch_size)` and `step(tokens, states, mask, training) -> (logits,
    states)`, and calls `prepare_streams` at the end of its constructor.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.replicas = Replicas()
        self.nonfinite_monitor = NonFiniteMonitor()
        # Tokens are integers, and layers cast their own: a table is the same to a layer here as inside `call`.
        self.autocast = False
        self._token_loss = TokenMean(name="loss")
        self._token_accuracy = TokenMean(name="accuracy")
        self._perplexity = Perplexity()
        self._bits = BitsPerCharacter()

    def prepare_streams(self):
        """Makes the states to carry, for which the layers must exist."""
        # Two, so that a validation in the middle of training does not disturb it.
        self._training_states = CarriedState(self.initial_state)
        self._test_states = CarriedState(self.initial_state)

    @property
    def random_variables(self):
        """The variables from which random numbers are computed, other than Keras's generators."""
        return []

    @property
    def carried_variables(self):
        """The states with which the next chunks of training and validation begin; no part of the saved weights."""
        return self._training_states.variables + self._test_states.variables

    @property
    def run_state(self):
        """Everything that a training run consists of: all that a callback needs to save and continue it."""
        variables = {
            "weights": self.variables,
            "optimizer": self.optimizer.variables,
            "metrics": self.metrics_variables,
            "states": self.carried_variables,
            "random": self.random_variables,
        }
        return RunState(variables, self._run_description, self.replicas)

    def _run_description(self):
        config = self.get_config()
        del config["vocabulary"]
        return {
            "vocabulary": {"size": len(self.vocabulary), "fingerprint": self.vocabulary.fingerprint},
            "model": config,
            "optimizer": keras.optimizers.serialize(self.optimizer),
            "replicas": self.replicas.count,
        }

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
            if self.replicas.is_distributed:
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
        # A callback that saves and continues runs, such as `Checkpoint`, calls Keras's `fit` itself, perhaps repeatedly.
        driver = next((callback for callback in options["callbacks"] if hasattr(callback, "run_fit")), None)
        with unless_updated(self):
            if driver is None:
                return super().fit(**options)
            return driver.run_fit(self, super().fit, options.pop("x"), options)

    def evaluate(self, x=None, *arguments, **named):
        """Measures, as `keras.Model.evaluate` does; under a strategy every worker calls it, as with `fit`."""
        return super().evaluate(x, *arguments, **self._as_replicas("evaluate", x, named))

    def _as_replicas(self, verb, x, arguments):
        self.replicas.check(x, verb)
        return arguments if self.replicas.is_chief else arguments | {"verbose": 0}

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def build_metrics(self, batch):
        """Makes the variables of the metrics that `compile` was given; Keras makes them with the first measurement."""
        inputs, targets, weights = keras.utils.unpack_x_y_sample_weight(batch)
        logits = tf.zeros((*targets.shape, len(self.vocabulary)))
        with self.replicas.scope():
            self.compute_metrics(inputs, targets, logits, weights)

    @property
    def metrics(self):
        # Keras's own loss tracker weights a batch by its rows; ours counts tokens and takes its place and name.
        return [m for m in super().metrics if m.name != "loss" or m is self._token_loss]

    def train_step(self, data):
        if not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        gradients, result, final_states = self._gradients(data, mean_loss)
        sums, nonfinite_flags = self._sums(data, *result), self._nonfinite_flags(final_states)

        def store():
            self._store_states(final_states)
            self._compute_metrics(data, *result)

        # In a replica Keras adds gradients up over all of them, though there be one, by a function that TensorFlow
        # keeps for ever, and the whole graph with it.
        tf.distribute.get_replica_context().merge_call(
            lambda strategy: self._update(gradients, sums, nonfinite_flags, store)
        )
        return self.get_metrics_result()

    def test_step(self, data):
        result, final_states = self._forward(data, training=False)
        self._store_states(final_states, training=False)
        self._count(self._sums(data, *result))
        return self._compute_metrics(data, *result)

    def _nonfinite_flags(self, final_states):
        """Which of the values that this replica started from, and of the states that it ended with, are not finite."""
        return nonfinite_groups([*([variable] for variable in checked_variables(self).values()), final_states])

    def _update(self, gradients, sums, nonfinite_flags, store):
        """Does the rest of a step: all of it, or nothing if a number is not finite."""
        names = [*checked_variables(self), "the recurrent state", "the loss"]
        tokens, nats, *_ = tf.unstack(tf.cast(sums, tf.float64))
        loss = mean_loss(nats, tokens, self._penalty())
        nonfinite_flags = [nonfinite_flags, nonfinite_groups([[loss]])]
        # One that scales the loss looks at gradients itself, and finds the largest scale by trying.
        scales = isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)
        if not scales:
            names += [f"the gradient of {variable.path}" for variable in self.trainable_variables]
            nonfinite_flags += [not_squarable(gradients)]

        def update():
            pairs = list(zip(gradients, self.trainable_variables, strict=True))
            apply = functools.partial(self.optimizer.apply_gradients, pairs)
            # That one wants to be in a replica.
            tf.distribute.get_strategy().run(apply) if scales else apply()
            self._count(sums)
            store()

        self.nonfinite_monitor.apply_unless(tf.concat(nonfinite_flags, axis=0), names, loss, update)

    def _gradients(self, data, loss_of):
        """The gradients of `loss_of(sum of the losses, number of tokens, penalty)`; and what `_forward` returns."""
        with tf.GradientTape() as tape:
            result, final_states = self._forward(data, training=True)
            _, losses, _, weights = result
            loss = loss_of(tf.reduce_sum(losses * weights), tf.reduce_sum(weights), self._penalty())
            scaled_loss = self.optimizer.scale_loss(loss)
        # An embedding's gradient comes as slices, a token's once for every time it occurs; a clipping optimizer would
        # take the norm of those parts and not of their sum.
        gradients = map(tf.convert_to_tensor, tape.gradient(scaled_loss, self.trainable_variables))
        return list(gradients), result, final_states

    def _forward(self, data, training):
        """Of one chunk: logits (B, T, V); losses in nats, hits (1 where the likeliest token came), weights, all (B, T).

        And the states with which the next chunk goes on, none if it does not.
        """
        tokens, start, padding_mask, targets, weights = unpack_batch(data)
        carried = self._training_states if training else self._test_states
        states = self.initial_state(tf.shape(tokens)[0]) if start is None else carried.resume(start)
        logits, states = self.step(tokens, states, mask=padding_mask, training=training)
        losses, hits = map_shards(token_losses, targets, logits)
        weights = tf.ones_like(losses) if weights is None else tf.cast(weights, losses.dtype)
        return (logits, losses, hits, weights), () if start is None else states

    def _store_states(self, states, training=True):
        if states:
            (self._training_states if training else self._test_states).store(states)

    def _penalty(self):
        return tf.add_n(self.losses) if self.losses else 0.0

    def _compute_metrics(self, data, logits, losses, hits, weights):
        """The metrics that `compile` was given, and our own."""
        inputs, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self.compute_metrics(inputs, targets, logits, weights)

    def _sums(self, data, logits, losses, hits, weights):
        """What the metrics count: tokens, nats, hits, characters; float64 (4,), for float32 would lose tokens."""
        _, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
        characters = tf.gather(
            tf.constant(self.vocabulary.characters_per_token, losses.dtype), tf.where(weights != 0, targets, 0)
        )
        return weighted_sums((tf.ones_like(losses), losses, hits, characters), weights)

    def _count(self, sums):
        tokens, nats, hits, characters = tf.unstack(tf.cast(sums, tf.float64))
        self._token_loss.add(summed_loss(nats, tokens, self._penalty()), tokens)
        self._token_accuracy.add(hits, tokens)
        self._perplexity.add(nats, tokens)
        self._bits.update_state(nats, characters)
