"""Training and test steps of a model under a `tf.distribute` strategy, each in two halves.

The first half runs in every replica, on its rows of a batch. The second half runs once, on the sums of what the
replicas found.
"""

import functools
from collections.abc import Callable

import keras
import tensorflow as tf

from tfcharlm.generation import check_not_forked
from tfcharlm.model.batch import summed_loss


class ReplicatedSteps(keras.Model):
    """The base of `StreamModel`: the functions that `fit` and `evaluate` call for every batch."""

    train_function: Callable | None
    test_function: Callable | None

    def make_train_function(self, force: bool = False) -> None:
        """Makes the function that `fit` calls for every batch; under a strategy, one for all replicas together."""
        check_not_forked()
        if not self.replicas.is_distributed:
            return super().make_train_function(force)
        if self.train_function is None or force:
            # Each replica's final states, handed from the first half of a step's graph to the second.
            final_states: dict = {}
            halves = (functools.partial(half, final_states) for half in (self._train_on_rows, self._train_on_sums))
            self.train_function = self.replicas.step_function(*halves)

    def make_test_function(self, force: bool = False) -> None:
        """Makes the function that `evaluate` calls for every batch; under a strategy, one for all replicas together."""
        check_not_forked()
        if not self.replicas.is_distributed:
            return super().make_test_function(force)
        if self.test_function is None or force:
            self.test_function = self.replicas.step_function(self._test_on_rows, self._test_on_sums)

    def make_predict_function(self, force: bool = False) -> Callable:
        """Makes the function that `predict` calls for every batch."""
        check_not_forked()
        return super().make_predict_function(force)

    def _train_on_rows(self, final_states, data):
        gradients, result, final_states[_replica()] = self._gradients(data, summed_loss)
        # With an open batch dimension, the shapes of some gradients are found out too late.
        shaped = [tf.ensure_shape(g, v.shape) for g, v in zip(gradients, self.trainable_variables, strict=True)]
        return [*shaped, self._sums(data, *result), self._nonfinite_flags(final_states[_replica()])]

    def _train_on_sums(self, final_states, gradients_and_sums):
        *gradients, sums, nonfinite_flags = gradients_and_sums
        tokens = sums[0]
        # The optimizer clips the gradient of the whole batch, as it does without a strategy.
        gradients = [tf.math.divide_no_nan(g, tf.cast(tokens, g.dtype)) for g in gradients]

        def store_states():
            self.replicas.strategy.run(lambda: self._store_states(final_states.pop(_replica())))

        # The flags are sums: if one worker found a number that is not finite, all of them skip the step.
        self._update(gradients, sums, nonfinite_flags > 0, store_states)
        return self.get_metrics_result()

    def _test_on_rows(self, data):
        result, final_states = self._forward(data, training=False)
        self._store_states(final_states, training=False)
        return [self._sums(data, *result)]

    def _test_on_sums(self, sums):
        self._count(*sums)
        return self.get_metrics_result()


def _replica():
    return int(tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group))
