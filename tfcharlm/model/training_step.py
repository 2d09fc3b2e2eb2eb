"""Training on streams of text: `fit` and `evaluate` for a model whose state is carried from batch to batch."""

import functools
import warnings
from typing import Any

import keras
import tensorflow as tf

from tfcharlm.kernels import map_shards
from tfcharlm.model.batch import mean_loss, token_losses, unpack_batch
from tfcharlm.model.carried_state import CarriedState
from tfcharlm.model.nonfinite import NonFiniteMonitor, checked_variables, nonfinite_groups, not_squarable
from tfcharlm.model.replicas import Replicas
from tfcharlm.model.replicated_steps import ReplicatedSteps
from tfcharlm.model.run_state import RunState
from tfcharlm.model.token_metrics import TokenMetrics
from tfcharlm.model.training_methods import TrainingMethods


class StreamModel(TrainingMethods, ReplicatedSteps, TokenMetrics):
    """A Keras model that predicts the next token of parallel streams.

    A subclass has `vocabulary`, `initial_state(batch_size)`, `step(tokens, states, mask) -> (logits, states)`, and
    `training_step_logits` with the same arguments. It calls `prepare_streams` at the end of its constructor.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.replicas = Replicas()
        self.nonfinite_monitor = NonFiniteMonitor()
        # Tokens are integers, and layers cast for themselves. So a layer gets the same table here as inside `call`.
        self.autocast = False

    def prepare_streams(self) -> None:
        """Makes the variables of the carried states. The layers must exist."""
        # Two sets, so that an evaluation in the middle of training does not disturb it.
        self._training_states = CarriedState(self.initial_state)
        self._test_states = CarriedState(self.initial_state)

    @property
    def random_variables(self) -> list[tf.Variable]:
        """The variables from which random numbers are computed, other than Keras's generators."""
        return []

    @property
    def carried_variables(self) -> tuple[tf.Variable, ...]:
        """The states with which the next chunks of training and evaluation start; not part of the saved weights."""
        return self._training_states.variables + self._test_states.variables

    @property
    def run_state(self) -> RunState:
        """Everything that a training run consists of, for a callback that saves and resumes it."""
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

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Trains on one batch: the whole update, or nothing of it if a number is not finite.

        With several replicas, the steps of `replicated_steps.py` run in its place.

        Args:
            data: `({"tokens": int (B, T), "start": bool (B,)}, targets int (B, T)[, weights (B, T)])`.

        Returns:
            The metrics so far, by name.
        """
        if not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        gradients, result, final_states = self._gradients(data, mean_loss)
        sums, nonfinite_flags = self._sums(data, *result), self._nonfinite_flags(final_states)

        def store():
            self._store_states(final_states)
            self._compute_metrics(data, *result)

        # In a replica Keras sums gradients over all replicas, even if there is only one, by a function that TensorFlow
        # keeps forever, and the whole graph with it.
        tf.distribute.get_replica_context().merge_call(
            lambda strategy: self._update(gradients, sums, nonfinite_flags, store)
        )
        return self.get_metrics_result()

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """The loss of logits: the weighted mean of the cross-entropies of tokens, plus the penalties of regularizers.

        Args:
            x: not used.
            y: the targets, ids (B, T).
            y_pred: logits (B, T, V).
            sample_weight: weights (B, T), (B, 1) or (B,); None (default) counts all tokens alike.
            training: not used.

        Returns:
            A scalar.
        """
        *_, targets, weights = unpack_batch((y, y, sample_weight))
        losses, _ = token_losses(targets, y_pred)
        weights = tf.ones_like(losses) if weights is None else tf.cast(weights, losses.dtype)
        return mean_loss(tf.reduce_sum(losses * weights), tf.reduce_sum(weights), self._penalty())

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        result, final_states = self._forward(data, training=False)
        self._store_states(final_states, training=False)
        self._count(self._sums(data, *result))
        return self._compute_metrics(data, *result)

    def _nonfinite_flags(self, final_states):
        """Which of the values that this replica started from are not finite; the last flag is for its final states."""
        return nonfinite_groups([*([variable] for variable in checked_variables(self).values()), final_states])

    def _update(self, gradients, sums, nonfinite_flags, store):
        """Applies a training step completely, or not at all if a number is not finite."""
        names = [*checked_variables(self), "the recurrent state", "the loss"]
        tokens, nats, *_ = tf.unstack(tf.cast(sums, tf.float64))
        loss = mean_loss(nats, tokens, self._penalty())
        nonfinite_flags = [nonfinite_flags, nonfinite_groups([[loss]])]
        # An optimizer that scales the loss checks gradients itself: it finds the largest scale by trying.
        scales = isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)
        if not scales:
            names += [f"the gradient of {variable.path}" for variable in self.trainable_variables]
            nonfinite_flags += [not_squarable(gradients)]

        def update():
            pairs = list(zip(gradients, self.trainable_variables, strict=True))
            apply = functools.partial(self.optimizer.apply_gradients, pairs)
            if not pairs:
                warnings.warn("The model does not have any trainable weights.", stacklevel=2)
            elif scales:
                # Loss scaling must run inside a replica.
                tf.distribute.get_strategy().run(apply)
            else:
                apply()
            self._count(sums)
            store()

        self.nonfinite_monitor.apply_unless(tf.concat(nonfinite_flags, axis=0), names, loss, update)

    def _gradients(self, data, loss_of):
        """The gradients of `loss_of(sum of the losses, number of tokens, penalty)`, and what `_forward` returns."""
        with tf.GradientTape() as tape:
            result, final_states = self._forward(data, training=True)
            _, losses, _, weights = result
            loss = loss_of(tf.reduce_sum(losses * weights), tf.reduce_sum(weights), self._penalty())
            scaled_loss = self.optimizer.scale_loss(loss)
        # The gradient of an embedding is a list of slices, one for each time that a token occurs. An optimizer that
        # clips would take the norm of these slices instead of the norm of their sum.
        gradients = map(tf.convert_to_tensor, tape.gradient(scaled_loss, self.trainable_variables))
        return list(gradients), result, final_states

    def _forward(self, data, training):
        """Reads one chunk.

        Returns:
            `((logits, losses, hits, weights), states)`: logits (B, T, V); losses in nats, hits (1 where the most likely
            token is the target) and weights, each (B, T); the states to carry, empty if the batch has no `start`.
        """
        tokens, start, padding_mask, targets, weights = unpack_batch(data)
        carried = self._training_states if training else self._test_states
        states = self.initial_state(tf.shape(tokens)[0]) if start is None else carried.resume(start)
        read = self.training_step_logits if training else self.step
        logits, states = read(tokens, states, padding_mask)
        losses, hits = map_shards(token_losses, targets, logits)
        if logits.shape.rank == 4:
            logits = tf.reduce_mean(logits, axis=2)
        weights = tf.ones_like(losses) if weights is None else tf.cast(weights, losses.dtype)
        return (logits, losses, hits, weights), () if start is None else states

    def _store_states(self, states, training=True):
        if states:
            (self._training_states if training else self._test_states).store(states)
