"""tfcharlm.RNN: `keras.layers.RNN` with the same arguments and results, through kernels where the cells have them."""

import inspect

import keras
import tensorflow as tf

from tfcharlm.kernels import run_recurrence
from tfcharlm.kernels.precision import Products
from tfcharlm.layers.cells import LSTMCell, RNNCell

WITH_KERNELS = RNNCell, LSTMCell


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
        return next(filter(None, map(_obstacle, self.cells)), None)

    @property
    def cells(self):
        """The cells from the bottom up: those of a stack, or the only one."""
        return self.cell.cells if isinstance(self.cell, keras.layers.StackedRNNCells) else [self.cell]

    def run(self, inputs, states, mask=None, training=False, embeddings=None, loop=False, recurrent_masks=()):
        """Reads sequences from given states, for a layer made with `return_sequences` and `return_state`.

        Unlike a call it takes ids, keeps nothing between calls, and, with kernels, rounds no state.

        Args:
            inputs: (B, T, input_dim), or int ids (B, T) with `embeddings`.
            states: as `get_initial_state` gives them, nested as `state_size`.
            mask: None, or bool (B, T).
            training: passed to cells; with kernels, whether a gradient is to be expected.
            embeddings: None, or a table (V, input_dim) of finite numbers, for the inputs `tf.gather(embeddings, ids)`.
                With a small V, the first kernel then multiplies every row of the table once, instead of one for every
                token: the same up to rounding.
            loop: whether this is one step of a loop that a compiler looks through. It moves what is the same in every
                turn out of the loop, the product of the table and the first kernel among it.
            recurrent_masks: factors of the recurrent kernels, one for each of `cells`, in their shapes; or none. It
                needs kernels.

        Returns:
            `(outputs (B, T, units), states)`; the states nested and in the dtypes as they came in.
        """
        kernels = self.loop_reason is None
        if loop and kernels and embeddings is not None and type(self.cell) in WITH_KERNELS:
            return self._run_step_of_ids(inputs, states, embeddings)
        if embeddings is not None:
            if mask is not None:
                inputs = tf.where(tf.broadcast_to(mask, tf.shape(inputs)), inputs, 0 * inputs)
            # Sampling reads one token at a time: there a table folded at every step would cost more than its rows.
            if not kernels or inputs.shape[1] == 1 or not _folds(embeddings):
                inputs, embeddings = tf.cast(tf.gather(embeddings, inputs), self.compute_dtype), None
        if kernels:
            return self._read(inputs, states, mask, training, embeddings, recurrent_masks)
        outputs, *after = self(inputs, initial_state=states, mask=mask, training=training)
        # A call of a Keras layer rounds states to the compute dtype.
        after = keras.tree.pack_sequence_as(states, keras.tree.flatten(after))
        return outputs, keras.tree.map_structure(lambda new, old: tf.cast(new, old.dtype), after, states)

    def inner_loop(self, sequences, initial_state, mask, training=False):
        outputs, states = self._read(sequences, initial_state, mask, training)
        return outputs[:, -1], outputs, states

    def _read(self, inputs, states, mask, training, embeddings=None, recurrent_masks=()):
        states = keras.tree.map_structure(tf.convert_to_tensor, list(states))
        if mask is not None:
            mask = tf.cast(mask[..., 0] if len(mask.shape) == 3 else mask, tf.bool)
            mask = tf.broadcast_to(mask, tf.shape(inputs)[:2])
            if embeddings is None:
                # A masked step is computed and dropped; a NaN in it would stay in every gradient as 0 * NaN.
                inputs = tf.where(_wider(mask, inputs), inputs, tf.zeros_like(inputs))
        if inputs.shape[1] == 1 and embeddings is None and not recurrent_masks:
            # Sampling has a loop of its own; a loop of one turn in it would cost more than the step.
            return self._run_step(inputs, states, mask, training)
        if self.loop_reason is None:
            return self._run_kernels(inputs, states, mask, training, embeddings, recurrent_masks)
        _, outputs, states = super().inner_loop(inputs, states, mask, training=training)
        return outputs, states

    def _run_step(self, inputs, states, mask, training):
        takes_training = "training" in inspect.signature(self.cell.call).parameters
        output, after = self.cell(inputs[:, 0], states, **({"training": training} if takes_training else {}))
        after = keras.tree.pack_sequence_as(states, keras.tree.flatten(after))
        if mask is not None:
            # A masked step keeps the state; there is no earlier output to repeat, and Keras then gives zeros.
            output = tf.where(_wider(mask[:, 0], output), output, tf.zeros_like(output))
            after = keras.tree.map_structure(
                lambda new, old: tf.where(_wider(mask[:, 0], new), new, old), after, states
            )
        return tf.cast(output, self.compute_dtype)[:, None], after

    def _run_step_of_ids(self, ids, states, embeddings):
        """One step of a cell that stands alone, reading a row of the table that its kernel has multiplied."""
        kernel, *weights = self.cell.step_weights()
        table = Products(kernel.dtype)(tf.cast(embeddings, kernel.dtype), kernel)
        after = self.cell.advance((None, *weights), tf.gather(table, ids[:, 0]), states)
        return tf.cast(after[0], self.compute_dtype)[:, None], after

    def _run_kernels(self, inputs, states, mask, training, embeddings, recurrent_masks):
        if self.go_backwards:
            inputs = tf.reverse(inputs, axis=[1])
            mask = None if mask is None else tf.reverse(mask, axis=[1])
        outputs, rest, ends = inputs, keras.tree.flatten(states), []
        for cell, factors in zip(self.cells, recurrent_masks or [None] * len(self.cells), strict=True):
            count = len(keras.tree.flatten(cell.state_size))
            own, rest = rest[:count], rest[count:]
            outputs, end = _run_cell(cell, outputs, own, mask, training, embeddings, factors)
            ends += [tf.cast(new, old.dtype) for new, old in zip(end, own, strict=True)]
            embeddings = None
        outputs = tf.cast(outputs, self.compute_dtype)
        if mask is not None:
            # Before its first real step a sequence has no output, whatever its state.
            real = mask if self.zero_output_for_mask else tf.cumsum(tf.cast(mask, tf.int32), axis=1) > 0
            outputs = tf.where(real[..., None], outputs, tf.zeros_like(outputs))
        return outputs, keras.tree.pack_sequence_as(states, ends)


def _run_cell(cell, inputs, states, mask, training, embeddings, factors):
    kernel, recurrent_kernel, bias = (None if w is None else tf.convert_to_tensor(w) for w in cell.arrays)
    if factors is not None:
        recurrent_kernel *= tf.cast(factors, recurrent_kernel.dtype)
    if embeddings is not None:
        kernel = tf.matmul(tf.cast(embeddings, kernel.dtype), kernel)
        # One-hot vectors; a gather, because tf.one_hot makes zeros of ids that are out of range.
        inputs = tf.gather(tf.eye(kernel.shape[0], dtype=kernel.dtype), inputs)
    return run_recurrence(
        cell.recurrence,
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
    if type(cell) not in WITH_KERNELS:
        return f"{type(cell).__name__} has no kernel"
    if cell.activation is not keras.activations.tanh:
        return f"activation of {cell.name} is not tanh"
    if getattr(cell, "recurrent_activation", keras.activations.sigmoid) is not keras.activations.sigmoid:
        return f"recurrent_activation of {cell.name} is not sigmoid"
    return None


def _wider(mask, tensor):
    """The mask with as many axes as the tensor."""
    return tf.reshape(mask, tf.concat([tf.shape(mask), [1] * (len(tensor.shape) - len(mask.shape))], axis=0))


def _folds(embeddings):
    """Whether multiplying one-hot vectors, forward and for the table's gradient, costs less than multiplying rows."""
    symbols, dimension = embeddings.shape
    return 2 * symbols <= 3 * dimension
