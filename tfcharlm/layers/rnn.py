"""tfcharlm.RNN: `keras.layers.RNN` with the same arguments and results, and a shorter way where there is one."""

import inspect

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tfcharlm")
class RNN(keras.layers.RNN):
    """`keras.layers.RNN` with no loop around a single step, and padding that cannot poison a gradient.

    Sampling reads one token at a time, inside a loop of its own; a loop of length one in it would cost more than the
    step. And whatever stands in masked positions of a sequence, NaN included, changes no output, state or gradient.
    Arguments, call arguments, weights and results are those of `keras.layers.RNN`; any Keras cell, or a list of cells,
    will do.

    Example:

    >>> layer = RNN([RNNCell(3), LSTMCell(5)], return_sequences=True)
    >>> layer(keras.ops.ones((2, 7, 4))).shape
    TensorShape([2, 7, 5])
    """

    def inner_loop(self, sequences, initial_state, mask, training=False):
        if mask is not None:
            # The loop computes masked steps too, then drops them; a NaN there would stay in every gradient as 0 * NaN.
            keep = tf.cast(mask, tf.bool)
            while len(keep.shape) < len(sequences.shape):
                keep = keep[..., None]
            sequences = tf.where(keep, sequences, tf.zeros_like(sequences))
        if sequences.shape[1] != 1:
            return super().inner_loop(sequences, initial_state, mask, training=training)
        states = keras.tree.map_structure(tf.convert_to_tensor, list(initial_state))
        output, new_states = self._step(sequences[:, 0], states, training)
        if mask is not None:
            # A masked step keeps the state; there is no earlier output to repeat, and Keras then gives zeros.
            keep = keep[:, 0]
            output = tf.where(keep, output, tf.zeros_like(output))
            new_states = keras.tree.map_structure(lambda new, old: tf.where(keep, new, old), new_states, states)
        return output, output[:, None], new_states

    def _step(self, inputs, states, training):
        takes_training = "training" in inspect.signature(self.cell.call).parameters
        arguments = {"training": training} if takes_training else {}
        output, new_states = self.cell(inputs, states, **arguments)
        return output, list(new_states) if keras.tree.is_nested(new_states) else [new_states]
