"""tfcharlm.RNN: `keras.layers.RNN` with the same arguments and results, and fused kernels for cells that have them."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfcharlm.kernels import MatMul, run_recurrence, why_not_native
from tfcharlm.layers.call_checks import check_cells, checked_call
from tfcharlm.layers.cudnn import run_same_layer, why_not_cudnn
from tfcharlm.layers.registry import why_not_fused


@keras.saving.register_keras_serializable(package="tfcharlm")
class RNN(keras.layers.RNN):
    """`keras.layers.RNN` with fused kernels, and with padding that cannot change a gradient.

    Arguments, call arguments, weights and results are those of `keras.layers.RNN`. It takes any Keras cell, or a list
    of cells. If every cell is a `RecurrentCell`, such as `LSTMCell` or one of your own, a sequence runs through
    `tfcharlm.kernels.run_recurrence`: through native kernels where they can be used, otherwise through kernels in
    TensorFlow. Other cells run in Keras's loop. `fallback_reason` says why. Cell states are float32 within a sequence,
    also under a bfloat16 policy. Values at masked positions, including NaN, do not change any output, state or
    gradient.

    Gradients are exact with `training` true or false. If it is false, the forward pass saves nothing for them, and a
    gradient repeats it.

    Example:

    >>> import keras, tfcharlm
    >>> layer = tfcharlm.RNN([tfcharlm.RNNCell(3), tfcharlm.LSTMCell(5)], return_sequences=True)
    >>> layer(keras.ops.ones((2, 7, 4))).shape
    TensorShape([2, 7, 5])
    >>> layer.why_not_fused is None                             # both cells have fused kernels
    True
    >>> tfcharlm.RNN([tfcharlm.LSTMCell(5), keras.layers.GRUCell(3)]).why_not_fused
    'GRUCell has no fused kernel, because it is not a tfcharlm.RecurrentCell'
    """

    @property
    def supports_jit(self) -> bool:
        """Whether XLA can compile the layer. As for Keras's layers, it has no operations of cuDNN."""
        return self._supports_jit and (self.why_not_fused is not None or not any(map(self._uses_cudnn, self.cells)))

    @supports_jit.setter
    def supports_jit(self, value: bool) -> None:
        self._supports_jit = value

    @property
    def fallback_reason(self) -> str | None:
        """Why sequences do not run through native kernels, in one line; None if they do.

        It is `why_not_fused` if that is not None. Otherwise cuDNN runs, for the cells that it has, or the kernels in
        TensorFlow do, for all cells or for the one that is named.
        """
        if self.why_not_fused:
            return self.why_not_fused
        if any(self._uses_cudnn(cell) for cell in self.cells):
            return "native kernels are not used: cuDNN runs"
        without = next((cell.name for cell in self.cells if not cell.recurrence.native), None)
        without = without and f"native kernels are not used: {without} has none"
        return why_not_native(self.compute_dtype) or without

    def _uses_cudnn(self, cell):
        return why_not_cudnn(cell.recurrence, self.compute_dtype) is None

    @property
    def why_not_fused(self) -> str | None:
        """Why sequences run in Keras's loop; None if they run through fused kernels. A single step needs neither."""
        return next(filter(None, map(why_not_fused, self.cells)), None)

    @property
    def cells(self) -> list[keras.layers.Layer]:
        """The cells from the bottom up: those of a stack, or the only one."""
        return self.cell.cells if isinstance(self.cell, keras.layers.StackedRNNCells) else [self.cell]

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Creates the weights of the cells for sequences of shape (batch, steps, input_dim)."""
        check_cells(self.cells)
        super().build(sequences_shape, initial_state_shape)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Calls the layer, as Keras does, after checks that say in one line what does not fit."""
        given = checked_call(self, arguments, named) if self.why_not_fused is None else {}
        return super().__call__(given.pop("sequences"), **given) if given else super().__call__(*arguments, **named)

    def reset_state(self) -> None:
        """Makes the states of a stateful layer zeros."""
        # Keras's own fails for the nested states of several cells.
        for variable in keras.tree.flatten(self.states or []):
            variable.assign(tf.zeros_like(variable.value))

    def run(
        self,
        inputs: tf.Tensor,
        states: Any,
        mask: tf.Tensor | None = None,
        training: bool = False,
        embeddings: tf.Tensor | None = None,
        in_compiled_loop: bool = False,
        recurrent_dropout_masks: Sequence[tf.Tensor] = (),
    ) -> tuple[tf.Tensor, Any]:
        """Reads sequences, starting from given states.

        The layer must have been made with `return_sequences` and `return_state`, and must be built. Unlike a call, this
        method accepts ids, keeps nothing between calls and, with fused kernels, does not round the states.

        Args:
            inputs: (B, T, input_dim), or int ids (B, T) with `embeddings`.
            states: in the form of `get_initial_state`, nested like `state_size`.
            mask: None (default: every step is real), or bool (B, T); False in padding.
            training: passed to the cells. With fused kernels it says whether to save what a gradient needs.
            embeddings: None (default), or a table (V, input_dim) of finite numbers. The inputs are then
                `tf.gather(embeddings, ids)`. If V is small, the first weight matrix multiplies every row of the table
                once, instead of one row per token. The result is the same up to rounding.
            in_compiled_loop: whether this is one step of a loop that XLA compiles as a whole; False by default. XLA
                moves whatever is the same in every turn out of the loop, such as the product of the table and the
                first weight matrix.
            recurrent_dropout_masks: factors of the recurrent kernels, one for each of `cells`, with the shape of the
                kernel; none by default. They need fused kernels.

        Returns:
            `(outputs (B, T, units), states)`. The states have the nesting and the dtypes of the argument.

        Example:

        >>> import tensorflow as tf
        >>> import tfcharlm
        >>> layer = tfcharlm.RNN(tfcharlm.LSTMCell(5), return_sequences=True, return_state=True)
        >>> layer.build((None, None, 3))
        >>> outputs, (h, c) = layer.run(tf.ones((2, 7, 3)), layer.get_initial_state(2))
        >>> outputs.shape, bool(tf.reduce_all(outputs[:, -1] == h))
        (TensorShape([2, 7, 5]), True)
        """
        fused = self.why_not_fused is None
        if in_compiled_loop and fused and embeddings is not None and self.cells[0] is self.cell:
            return self._run_step_of_ids(inputs, states, embeddings)
        if embeddings is not None:
            if mask is not None:
                inputs = tf.where(tf.broadcast_to(mask, tf.shape(inputs)), inputs, 0 * inputs)
            # Sampling reads one token at a time. Multiplying the whole table at every step would cost more than
            # multiplying the rows that are read.
            if not fused or inputs.shape[1] == 1 or not self._multiplies_table(embeddings, inputs):
                inputs, embeddings = tf.cast(tf.gather(embeddings, inputs), self.compute_dtype), None
        if fused:
            return self._forward(inputs, states, mask, training, embeddings, recurrent_dropout_masks)
        outputs, *final_states = self(inputs, initial_state=states, mask=mask, training=training)
        # A call of a Keras layer rounds states to the compute dtype.
        final_states = keras.tree.pack_sequence_as(states, keras.tree.flatten(final_states))
        return outputs, keras.tree.map_structure(lambda new, old: tf.cast(new, old.dtype), final_states, states)

    def inner_loop(
        self, sequences: tf.Tensor, initial_state: Any, mask: tf.Tensor | None, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor, Any]:
        """What `keras.layers.RNN.call` calls: `(last output, outputs, states)`."""
        outputs, states = self._forward(sequences, initial_state, mask, training)
        return outputs[:, -1], outputs, states

    def _forward(self, inputs, states, mask, training, embeddings=None, recurrent_dropout_masks=()):
        states = keras.tree.map_structure(lambda state: _in_every_row(state, inputs), list(states))
        if mask is not None:
            mask = tf.cast(mask[..., 0] if len(mask.shape) == 3 else mask, tf.bool)
            mask = tf.broadcast_to(mask, tf.shape(inputs)[:2])
            if embeddings is None:
                # A masked step is computed and then discarded. A NaN in it would reach every gradient as 0 * NaN.
                inputs = tf.where(_expand_like(mask, inputs), inputs, tf.zeros_like(inputs))
        if inputs.shape[1] == 1 and embeddings is None and not recurrent_dropout_masks:
            # Sampling runs its own loop. Another loop of one turn inside it would cost more than the step.
            return self._run_step(inputs, states, mask, training)
        if self.why_not_fused is None:
            return self._run_fused(inputs, states, mask, training, embeddings, recurrent_dropout_masks)
        _, outputs, states = super().inner_loop(inputs, states, mask, training=training)
        return outputs, states

    def _multiplies_table(self, embeddings, ids):
        """Whether the product of the table and the first kernel costs less than products of rows of the table."""
        if self._uses_cudnn(self.cells[0]):
            return False  # cuDNN reads vectors
        symbols, dimension = embeddings.shape
        if why_not_native(self.compute_dtype):
            # Products of one-hot vectors follow, forward and for the table's gradient.
            return 2 * symbols <= 3 * dimension
        batch, length = ids.shape
        return symbols <= (batch * length if batch and length else 4 * dimension)

    def _run_step(self, inputs, states, mask, training):
        takes_training = "training" in inspect.signature(self.cell.call).parameters
        output, next_states = self.cell(inputs[:, 0], states, **({"training": training} if takes_training else {}))
        next_states = keras.tree.pack_sequence_as(states, keras.tree.flatten(next_states))
        if mask is not None:
            # A masked step keeps the state. There is no earlier output to repeat, so the output is 0, as in Keras.
            output = tf.where(_expand_like(mask[:, 0], output), output, tf.zeros_like(output))
            next_states = keras.tree.map_structure(
                lambda new, old: tf.where(_expand_like(mask[:, 0], new), new, old), next_states, states
            )
        return tf.cast(output, self.compute_dtype)[:, None], next_states

    def _run_step_of_ids(self, ids, states, embeddings):
        """One step of a single cell, which reads a row of the product of the table and the kernel."""
        weights = self.cell.step_weights()
        table = MatMul(weights.kernel.dtype)(tf.cast(embeddings, weights.kernel.dtype), weights.kernel)
        next_states = self.cell.next_states(weights._replace(kernel=None), tf.gather(table, ids[:, 0]), states)
        return tf.cast(next_states[0], self.compute_dtype)[:, None], next_states

    def _run_fused(self, inputs, states, mask, training, embeddings, recurrent_dropout_masks):
        if self.go_backwards:
            inputs = tf.reverse(inputs, axis=[1])
            mask = None if mask is None else tf.reverse(mask, axis=[1])
        outputs, rest, final_states = inputs, keras.tree.flatten(states), []
        for cell, dropout_mask in zip(self.cells, recurrent_dropout_masks or [None] * len(self.cells), strict=True):
            count = len(keras.tree.flatten(cell.state_size))
            cell_states, rest = rest[:count], rest[count:]
            outputs, cell_final = _run_cell(cell, outputs, cell_states, mask, training, embeddings, dropout_mask)
            final_states += [tf.cast(new, old.dtype) for new, old in zip(cell_final, cell_states, strict=True)]
            embeddings = None
        outputs = tf.cast(outputs, self.compute_dtype)
        if mask is not None:
            # Before its first real step a sequence has no output yet, even if its state is not 0.
            is_real = mask if self.zero_output_for_mask else tf.cumsum(tf.cast(mask, tf.int32), axis=1) > 0
            outputs = tf.where(is_real[..., None], outputs, tf.zeros_like(outputs))
        return outputs, keras.tree.pack_sequence_as(states, final_states)


def _run_cell(cell, inputs, states, mask, training, embeddings, dropout_mask):
    weights, recurrence = cell.weight_tensors(dropout_mask), cell.recurrence
    if embeddings is not None:
        weights = weights._replace(kernel=tf.matmul(tf.cast(embeddings, weights.kernel.dtype), weights.kernel))

    def run_kernel():
        return run_recurrence(recurrence, weights, inputs, states, mask, cell.compute_dtype, bool(training))

    if embeddings is None and why_not_cudnn(recurrence, cell.compute_dtype) is None:
        return run_same_layer(recurrence, weights, inputs, states, mask, run_kernel)
    return run_kernel()


def _expand_like(mask, tensor):
    """The mask with as many axes as the tensor."""
    return tf.reshape(mask, tf.concat([tf.shape(mask), [1] * (len(tensor.shape) - len(mask.shape))], axis=0))


def _in_every_row(state, inputs):
    """A state as a tensor. One row is the state of all rows, as in Keras's loop."""
    state = tf.convert_to_tensor(state)
    if state.shape[0] != 1 or inputs.shape[0] == 1:
        return state
    return tf.broadcast_to(state, (tf.shape(inputs)[0], *state.shape[1:]))
