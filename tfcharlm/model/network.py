"""From tokens and states to logits and the next states: embedding -> recurrent layers -> head."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfcharlm.generation import check_not_forked
from tfcharlm.kernels import map_shards
from tfcharlm.layers import RNN, TOKENS, Wiring
from tfcharlm.model.dropout import NO_DROPOUT, DropoutMasks, SequenceDropout
from tfcharlm.model.inputs import check_rank, token_ids


class RecurrentNetwork:
    """A mixin for a model with the layers `embedding`, `recurrent` (a list) and `head`."""

    embedding: keras.layers.Embedding
    recurrent: list[RNN]
    head: keras.layers.Dense
    embedding_dim: int
    wiring: Wiring
    dropout_masks: SequenceDropout
    variables: Sequence[keras.Variable]
    compute_dtype: str

    @property
    def layer_widths(self) -> list[int]:
        """The sizes of the recurrent layers' outputs, bottom layer first."""
        return [layer.compute_output_shape((None, None, 1))[0][-1] for layer in self.recurrent]

    def layer_inputs(self, vectors: tf.Tensor | None, outputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """What the next recurrent layer reads.

        Args:
            vectors: the vectors of the tokens, (..., embedding_dim).
            outputs: the outputs of the layers before it in `recurrent`, (..., width) each.

        Returns:
            A tensor (..., input_dim).
        """
        sources = self.wiring.layer_reads(len(outputs))
        return _joined([vectors if source == TOKENS else outputs[source] for source in sources])

    def initial_state(self, batch_size: int | tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The states before a text starts.

        Args:
            batch_size: number of rows.

        Returns:
            A flat tuple of tensors (batch_size, units), bottom layer first; zeros, unless a cell of your own starts
            with something else. An LSTM cell has two states, h and c.
        """
        states = [layer.get_initial_state(batch_size) for layer in self.recurrent]
        return tuple(keras.tree.flatten(states))

    def step(
        self,
        tokens: tf.Tensor,
        states: Sequence[tf.Tensor],
        mask: tf.Tensor | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        """Reads tokens, starting from given states.

        Args:
            tokens: int (B, T), ids of the vocabulary: an array, a tensor or lists of any number type.
            states: as `initial_state` or an earlier `step` returned them.
            mask: bool (B, T), False where the states must stay as they are; None (default) reads all tokens.
            training: whether dropout is applied. False by default.

        Returns:
            `(logits, states)`: logits of each next token, float32 (B, T, V), and the states after the last token.

        Example:

        >>> import tensorflow as tf
        >>> import tfcharlm
        >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc"), [tfcharlm.RNNCell(5)])
        >>> logits, states = model.step(tf.constant([[0, 2]]), model.initial_state(batch_size=1))
        >>> logits.shape, states[0].shape
        (TensorShape([1, 2, 3]), TensorShape([1, 5]))
        """
        if tf.executing_eagerly():
            check_not_forked()
        return self._sharded_step(tokens, states, mask, training)

    def training_step_logits(
        self, tokens: tf.Tensor, states: Sequence[tf.Tensor], mask: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        """`step` for training: with several networks, the logits of each, (B, T, members, V)."""
        return self._sharded_step(tokens, states, mask, training=True, by_member=self.wiring.members > 1)

    def _sharded_step(self, tokens, states, mask, training, by_member=False):
        tokens, embeddings = token_ids(tokens), tf.convert_to_tensor(self.embedding.embeddings)
        if mask is not None:
            mask = tf.cast(mask, tf.bool)
            check_rank(mask.shape, "mask")
        dropout_masks = self._draw_dropout_masks(tf.shape(tokens)[0]) if training else NO_DROPOUT

        # The masks that have rows are split with the tokens; the masks of the recurrent weights hold for all rows.
        def forward(tokens, states, mask, inputs, outputs):
            row_masks = DropoutMasks(inputs, outputs, dropout_masks.recurrent)
            return self._forward_rows(tokens, embeddings, states, mask, training, row_masks, by_member=by_member)

        by_row = (tokens, tuple(states), mask, dropout_masks.inputs, dropout_masks.outputs)
        return forward(*by_row) if tokens.shape[1] == 1 else map_shards(forward, *by_row)

    def _draw_dropout_masks(self, rows):
        drops = self.dropout_masks.rates["weight_drop"] > 0
        kernels = [cell.recurrent_kernel.shape for layer in self.recurrent for cell in layer.cells] if drops else ()
        return self.dropout_masks.draw(rows, self.embedding_dim, self.layer_widths, kernels)

    def stateless_step(
        self, values: Sequence[tf.Tensor], tokens: tf.Tensor, states: Sequence[tf.Tensor]
    ) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        """One step of a compiled loop, as a function of its arguments alone.

        Args:
            values: the values of `variables`, in their order.
            tokens: int32 (B, 1).
            states: as for `step`.

        Returns:
            `(logits (B, 1, V), states)`.
        """
        with keras.StatelessScope(state_mapping=list(zip(self.variables, values, strict=True))):
            embeddings = tf.convert_to_tensor(self.embedding.embeddings)
            return self._forward_rows(tokens, embeddings, states, None, training=False, in_compiled_loop=True)

    def _forward_rows(
        self,
        tokens,
        embeddings,
        states,
        mask,
        training,
        dropout_masks=NO_DROPOUT,
        in_compiled_loop=False,
        by_member=False,
    ):
        rest, recurrent_masks = list(states), list(dropout_masks.recurrent)
        outputs, final_states, vectors = [], [], None
        reads = [self.wiring.layer_reads(i) for i in range(len(self.recurrent))]
        if dropout_masks.inputs is not None or any(TOKENS in sources[1:] for sources in reads):
            vectors = self._vectors(tokens, embeddings, mask, dropout_masks.inputs)
        for i, layer in enumerate(self.recurrent):
            count = len(keras.tree.flatten(layer.state_size))
            layer_states, rest = rest[:count], rest[count:]
            nested = keras.tree.pack_sequence_as(layer.state_size, layer_states)
            nested = nested if keras.tree.is_nested(nested) else [nested]
            layer_masks, recurrent_masks = recurrent_masks[: len(layer.cells)], recurrent_masks[len(layer.cells) :]
            # Unless numbers of the vectors are dropped, ids with the table are the faster way to the same result.
            by_id = reads[i] == (TOKENS,) and dropout_masks.inputs is None
            output, layer_final_states = layer.run(
                tokens if by_id else self.layer_inputs(vectors, outputs),
                nested,
                mask,
                training,
                embeddings if by_id else None,
                in_compiled_loop,
                layer_masks,
            )
            final_states += keras.tree.flatten(layer_final_states)
            if dropout_masks.outputs:
                output *= tf.cast(dropout_masks.outputs[i], output.dtype)[:, None]
            outputs.append(output)
        of_members = [_joined([outputs[i] for i in sources]) for sources in self.wiring.head_reads()]
        if by_member:
            return self._member_logits(of_members), tuple(final_states)
        # Divided, so that the logits are averages, and the rows of the kernel those that a network would have alone.
        x = _joined(of_members)
        return self.head(x / len(of_members) if len(of_members) > 1 else x), tuple(final_states)

    def _member_logits(self, of_members):
        """(B, T, members, V): logits whose mean is what the head makes of the outputs of all networks."""
        kernel, bias = map(tf.convert_to_tensor, (self.head.kernel, self.head.bias))
        kernels = tf.split(kernel, [x.shape[-1] for x in of_members])
        logits = [tf.tensordot(tf.cast(x, kernel.dtype), k, 1) for x, k in zip(of_members, kernels, strict=True)]
        return tf.stack(logits, axis=2) + bias

    def _vectors(self, tokens, embeddings, mask, factors):
        # A masked token need not be a valid id.
        tokens = tokens if mask is None else tf.where(tf.broadcast_to(mask, tf.shape(tokens)), tokens, 0 * tokens)
        vectors = tf.cast(tf.gather(embeddings, tokens), self.compute_dtype)
        return vectors if factors is None else vectors * tf.cast(factors, vectors.dtype)[:, None]


def _joined(tensors):
    return tensors[0] if len(tensors) == 1 else tf.concat(tensors, axis=-1)
