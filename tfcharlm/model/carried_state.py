"""The recurrent state that each row carries from one chunk of a stream to the next."""

from collections.abc import Callable, Sequence

import tensorflow as tf


class CarriedState:
    """Stores the final states of every row between calls, and resets the rows that start a document.

    Keras does not track this object, so the states are not part of the saved weights. The variables have no fixed first
    dimension, so a model is not bound to the batch size of its training.

    Args:
        initial_state: a function of `batch_size` that returns the states, a tuple of tensors (batch_size, units).

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.model.carried_state import CarriedState
    >>> carried = CarriedState(lambda batch_size: (tf.zeros((batch_size, 1)),))
    >>> carried.store((tf.constant([[1.0], [2.0]]),))
    >>> carried.resume(tf.constant([False, True]))[0].numpy()      # the second row starts a document
    array([[1.],
           [0.]], dtype=float32)
    """

    def __init__(self, initial_state: Callable[[int | tf.Tensor], tuple[tf.Tensor, ...]]) -> None:
        self._initial_state = initial_state
        self.variables = tuple(
            tf.Variable(
                state,
                trainable=False,
                shape=(None, *state.shape[1:]),
                # Every replica of a strategy has the states of its own rows.
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            for state in initial_state(0)
        )

    def resume(self, start: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The states with which the rows of the next chunk start.

        Args:
            start: bool (B,), True where a row starts a document. If B is not the batch size of the previous chunk,
                nothing is continued: all rows start from their initial state.

        Returns:
            A tuple of tensors (B, units).
        """
        batch_size = tf.shape(start)[0]
        begins = tf.cast(start, tf.bool)[:, None]

        def resumed(variable, fresh):
            stored = variable.read_value()
            rows = tf.shape(stored)[0]
            # A slice of both rather than a tf.cond: Grappler's shape inference takes the wrong branch of the latter.
            first = tf.where(rows == batch_size, 0, rows)
            kept = tf.slice(tf.concat([stored, fresh], axis=0), [first, 0], tf.shape(fresh))
            return tf.where(begins, fresh, tf.ensure_shape(kept, fresh.shape))

        return tuple(map(resumed, self.variables, self._initial_state(batch_size)))

    def store(self, states: Sequence[tf.Tensor]) -> None:
        """Stores the final states of the rows of a chunk: a tuple of tensors (B, units)."""
        for variable, state in zip(self.variables, states, strict=True):
            variable.assign(state)
