"""The recurrent state that goes from one chunk of a stream to the next, row by row."""

import tensorflow as tf


class CarriedState:
    """Keeps the last states of every row between calls; starts afresh the rows that begin a document.

    Keras does not track this object, so the states are no part of the saved weights; and the variables have no fixed
    first dimension, so the batch size of training binds nothing else.

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

    def __init__(self, initial_state):
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

    def resume(self, start):
        """The states with which the rows of the next chunk begin.

        Args:
            start: bool (B,), True where a row begins a document. A batch with another number of rows than the last one
                continues nothing: all its rows start afresh.

        Returns:
            A tuple of tensors (B, units).
        """
        batch_size = tf.shape(start)[0]
        begins = tf.cast(start, tf.bool)[:, None]

        def of_row(variable, fresh):
            stored = variable.read_value()
            rows = tf.shape(stored)[0]
            # A slice of both rather than a tf.cond: Grappler's shape inference takes the wrong branch of the latter.
            begin = tf.where(rows == batch_size, 0, rows)
            kept = tf.slice(tf.concat([stored, fresh], axis=0), [begin, 0], tf.shape(fresh))
            return tf.where(begins, fresh, tf.ensure_shape(kept, fresh.shape))

        return tuple(map(of_row, self.variables, self._initial_state(batch_size)))

    def store(self, states):
        """Stores the states with which the rows of a chunk ended: a tuple of tensors (B, units)."""
        for variable, state in zip(self.variables, states, strict=True):
            variable.assign(state)
