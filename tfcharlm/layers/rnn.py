"""tfcharlm.RNN: `keras.layers.RNN` with the same arguments and results, through kernels where the cells have them."""

import inspect

import keras
import tensorflow as tf

from tfcharlm.kernels import recurrences, run_recurrence
from tfcharlm.layers.cells import LSTMCell, RNNCell

RECURRENCES = {RNNCell.call: recurrences.RNN, LSTMCell.call: recurrences.LSTM}


@keras.saving.register_keras_serializable(package="tfcharlm")
class RNN(keras.layers.RNN):
    """`keras.layers.RNN`, faster, and with padding that cannot poison a gradient.

    Arguments, call arguments, weights and results are those of `keras.layers.RNN`; any Keras cell, or a list of cells,
    will do. A sequence runs through `tfcharlm.kernels.run_recurrence` if every cell is an `RNNCell` or an `LSTMCell`
    with its standard activations, else through the plain loop of Keras: `loop_reason` says which. Cell states are
    float32 within a sequence, also under a bfloat16 policy. Whatever stands in masked positions, NaN included, changes
    no output, state or gradient.

    Gradients are exact with `training` true or false; with it false, what they need is not kept but computed again.

    Example:

    >>> layer = RNN([RNNCell(3), LSTMCell(5)], return_sequences=True)
    >>> layer(keras.ops.ones((2, 7, 4))).shape
    TensorShape([2, 7, 5])
    >>> layer.loop_reason is None                               # both cells have kernels
    True
    >>> RNN([LSTMCell(5), keras.layers.GRUCell(3)]).loop_reason
    'GRUCell has no kernel'
    """

    @property
    def loop_reason(self):
        """None if sequences run through kernels; if through the plain loop, why. A single step never needs a loop."""
        return next(filter(None, map(_obstacle, self._cells)), None)

    @property
    def _cells(self):
        return self.cell.cells if isinstance(self.cell, keras.layers.StackedRNNCells) else [self.cell]

    def run(self, inputs, states, mask=None, training=False, embeddings=None):
        """Reads sequences from given states, outside of Keras's call: nothing is stateful, no state is rounded.

        Args:
            inputs: (B, T, input_dim), or int ids (B, T) with `embeddings`.
            states: as `get_initial_state` gives them, nested as `state_size`.
            mask: None, or bool (B, T).
            training: passed to cells; with kernels, whether a gradient is to be expected.
            embeddings: None, or a table (V, input_dim), for the inputs `tf.gather(embeddings, ids)`. With a small V,
                the first kernel then multiplies every row of the table once, instead of one for every token.

        Returns:
            `(outputs (B, T, units), states)`; the states in the dtypes of those that came in.
        """
        states = keras.tree.map_structure(tf.convert_to_tensor, list(states))
        # Sampling reads one token at a time in a loop of its own; a loop of one turn would cost more than the step.
        single = inputs.shape[1] == 1
        kernels = not single and self.loop_reason is None
        if embeddings is not None and not (kernels and _folds(embeddings)):
            inputs, embeddings = tf.cast(tf.gather(embeddings, inputs), self.compute_dtype), None
        if mask is not None:
            mask = tf.broadcast_to(tf.cast(mask, tf.bool), tf.shape(inputs)[:2])
            if embeddings is None:
                # A masked step is computed and dropped; a NaN in it would stay in every gradient as 0 * NaN.
                inputs = tf.where(mask[..., None], inputs, tf.zeros_like(inputs))
        if single:
            return self._run_step(inputs, states, mask, training)
        if kernels:
            return self._run_kernels(inputs, states, mask, training, embeddings)
        _, outputs, states = super().inner_loop(inputs, states, mask, training=training)
        return outputs, states

    def inner_loop(self, sequences, initial_state, mask, training=False):
        if mask is not None and len(mask.shape) == 3:
            mask = mask[..., 0]
        outputs, states = self.run(sequences, initial_state, mask, training)
        return outputs[:, -1], outputs, states

    def _run_step(self, inputs, states, mask, training):
        takes_training = "training" in inspect.signature(self.cell.call).parameters
        output, after = self.cell(inputs[:, 0], states, **({"training": training} if takes_training else {}))
        after = list(after) if keras.tree.is_nested(after) else [after]
        if mask is not None:
            # A masked step keeps the state; there is no earlier output to repeat, and Keras then gives zeros.
            output = tf.where(mask, output, tf.zeros_like(output))
            after = keras.tree.map_structure(lambda new, old: tf.where(mask, new, old), after, states)
        return tf.cast(output, self.compute_dtype)[:, None], after

    def _run_kernels(self, inputs, states, mask, training, embeddings):
        if self.go_backwards:
            inputs = tf.reverse(inputs, axis=[1])
            mask = None if mask is None else tf.reverse(mask, axis=[1])
        stacked = isinstance(self.cell, keras.layers.StackedRNNCells)
        ends, outputs = [], inputs
        for cell, state in zip(self._cells, states if stacked else [states], strict=True):
            state = list(state) if keras.tree.is_nested(state) else [state]
            outputs, end = _run_cell(cell, outputs, state, mask, training, embeddings)
            ends.append([tf.cast(new, old.dtype) for new, old in zip(end, state, strict=True)])
            embeddings = None
        outputs = tf.cast(outputs, self.compute_dtype)
        if mask is not None:
            # Before its first real step a sequence has no output, whatever its state.
            real = mask if self.zero_output_for_mask else tf.cumsum(tf.cast(mask, tf.int32), axis=1) > 0
            outputs = tf.where(real[..., None], outputs, tf.zeros_like(outputs))
        return outputs, ends if stacked else ends[0]


def _run_cell(cell, inputs, states, mask, training, embeddings):
    kernel, recurrent_kernel, bias = (None if w is None else tf.convert_to_tensor(w) for w in cell.arrays)
    if embeddings is not None:
        kernel = tf.matmul(embeddings, kernel)
        # One-hot vectors; a gather, because tf.one_hot makes zeros of ids that are out of range.
        inputs = tf.gather(tf.eye(kernel.shape[0], dtype=kernel.dtype), inputs)
    return run_recurrence(
        RECURRENCES[type(cell).call],
        (kernel, recurrent_kernel, bias),
        inputs,
        states,
        mask,
        dtype=cell.compute_dtype,
        save=bool(training),
        needs_input_gradient=embeddings is None,
    )


def _obstacle(cell):
    """Why a cell has no kernel, or None."""
    if RECURRENCES.get(type(cell).call) is None:
        return f"{type(cell).__name__} has no kernel"
    if cell.activation is not keras.activations.tanh:
        return f"activation of {cell.name} is not tanh"
    if getattr(cell, "recurrent_activation", keras.activations.sigmoid) is not keras.activations.sigmoid:
        return f"recurrent_activation of {cell.name} is not sigmoid"
    return None


def _folds(embeddings):
    """Whether multiplying one-hot vectors, forward and for the table's gradient, costs less than multiplying rows."""
    symbols, dimension = embeddings.shape
    return 2 * symbols <= 3 * dimension
