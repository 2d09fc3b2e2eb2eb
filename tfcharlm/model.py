"""CharLM: embedding -> recurrent layers -> logits, trained on streams of text with its state carried along."""

import keras
import tensorflow as tf

from tfcharlm.dropout import NO_MASKS, Masks, SequenceDropout
from tfcharlm.edge import export_litert, export_onnx
from tfcharlm.export import export
from tfcharlm.kernels import in_chains
from tfcharlm.layers import RNN
from tfcharlm.metrics import characters_per_token
from tfcharlm.model_arguments import check_options, checked_cells, checked_vocabulary
from tfcharlm.stream_model import StreamModel
from tfcharlm.text.vocabulary import Vocabulary
from tfcharlm.text_model import TextModel


@keras.saving.register_keras_serializable(package="tfcharlm")
class CharLM(TextModel, StreamModel):
    r"""A recurrent language model over characters, bytes or words.

    $$ e_t = E[x_t], \quad h_t = \mathrm{cells}(e_t, h_{t-1}), \quad
       p(x_{t+1} \mid x_1 \dots x_t) = \mathrm{softmax}(h_t W + b) $$

    `fit`, `evaluate` and callbacks work as with any Keras model, on data sets of
    `({"tokens": int (B, T), "start": bool (B,)}, targets int (B, T)[, weights (B, T)])`, as
    `tfcharlm.text.stream_dataset` gives them: row i of a batch goes on with the state in which row i of the last batch
    ended, unless its `start` is set. Gradients stop at the edge of a chunk (truncated back-propagation through time).
    Tokens without `start` are windows that begin with a zero state. Weights, (B, T) or one a row, count targets; what
    follows the last target of a row that counts is padding and changes nothing.

    Args:
        vocabulary: a `tfcharlm.text.Vocabulary`. It is part of the model's config.
        cells: the recurrent layers from the bottom up, a list of Keras RNN cells: `[tfcharlm.LSTMCell(256)]`.
        embedding_dim: length of a token's vector. 64 is about the size of a character set: more only costs time.
        dropout: share of each recurrent layer's outputs that a row does without in training, the same ones throughout a
            chunk (Gal & Ghahramani 2016); what a layer hands to itself is not touched.
            0 by default: it harms until a text has been read some six times (docs/recipe.md).
        dropout_seed: of those choices, which are a function of it and of how many there have been.
        input_dropout: the same for the numbers of the tokens' vectors.
        weight_drop: share of each recurrent kernel that a chunk does without in training (Merity et al. 2018). It needs
            cells of this package, with their kernels.
        skip_connections: whether every layer above the first reads the tokens, too, and the head all layers (Graves
            2013). False by default: with one layer it means nothing.
        **kwargs: `name`, `dtype` (policy) and the like, as in `keras.Model`.

    Raises:
        ValueError: no cells, or something in the list is no RNN cell or computes in another dtype than the model, or
            the vocabulary is none, or a rate is no share, or there is weight drop for cells without kernels.

    Example:

    >>> text = "to be or not to be\n" * 20
    >>> vocabulary = Vocabulary.from_text(text)
    >>> model = CharLM(vocabulary, cells=[LSTMCell(16)], embedding_dim=8)
    >>> model.compile(optimizer=keras.optimizers.Adam(0.01))
    >>> train = stream_dataset(vocabulary.encode(text), batch_size=4, sequence_length=10, seed=0)
    >>> history = model.fit(train, epochs=2, verbose=0)
    >>> sorted(history.history)
    ['accuracy', 'bits_per_character', 'loss', 'perplexity']
    >>> len(model.generate(["to"], max_length=5, seed=1)[0])
    7

    Reference: Mikolov et al. (2010), Recurrent neural network based language model; Graves (2013), Generating
    sequences with recurrent neural networks.
    """

    def __init__(self, vocabulary, cells, embedding_dim=64, dropout=0.0, dropout_seed=0, input_dropout=0.0,
                 weight_drop=0.0, skip_connections=False, **kwargs):  # fmt: skip
        super().__init__(**kwargs)
        self.vocabulary = checked_vocabulary(vocabulary)
        self.embedding_dim, self.skip_connections = embedding_dim, skip_connections
        self.dropout = SequenceDropout(dropout_seed, dropout, input_dropout, weight_drop)
        policy = self.dtype_policy
        # Keras's default, within 0.05, leaves the gates almost blind to the token: two minutes on Shakespeare's plays
        # ended at 2.59 nats with it and at 1.71 with unit variance (docs/architecture.md says what else differed).
        self.embedding = keras.layers.Embedding(
            len(vocabulary), embedding_dim, keras.initializers.RandomNormal(stddev=1.0), dtype=policy, name="embedding"
        )
        self.recurrent = [
            RNN(cell, return_sequences=True, return_state=True, dtype=policy, name=f"recurrent_{i}")
            for i, cell in enumerate(checked_cells(cells, policy))
        ]
        check_options(self.recurrent, weight_drop, skip_connections)
        # Not in a lower precision than the weights: bfloat16 logits would have two digits.
        self.head = keras.layers.Dense(len(vocabulary), dtype=policy.variable_dtype, name="head")
        # "auto" would otherwise have XLA compile the training step, states of an open batch dimension included, which
        # it cannot.
        self.supports_jit = False
        self.build()
        self.prepare_streams(characters_per_token(vocabulary))

    def build(self, input_shape=None):
        """Makes the weights. The constructor calls it: no shape of the input matters to them."""
        if self.built:
            return
        self.embedding.build((None, None))
        below, more = self.embedding_dim, 0
        for layer, width in zip(self.recurrent, self._widths, strict=True):
            layer.build((None, None, below + more))
            below, more = width, self.embedding_dim if self.skip_connections else 0
        self.head.build((None, None, sum(self._widths) if self.skip_connections else below))
        self.built = True

    @property
    def _widths(self):
        return [layer.compute_output_shape((None, None, 1))[0][-1] for layer in self.recurrent]

    def layer_inputs(self, vectors, outputs):
        """What the next recurrent layer reads.

        Args:
            vectors: of the tokens, (..., embedding_dim).
            outputs: of the layers below, (..., width) each, bottom layer first.
        """
        if not outputs:
            return vectors
        return tf.concat([outputs[-1], vectors], axis=-1) if self.skip_connections else outputs[-1]

    def head_inputs(self, outputs):
        """What the head reads, of the outputs of all recurrent layers."""
        return tf.concat(outputs, axis=-1) if self.skip_connections else outputs[-1]

    def initial_state(self, batch_size):
        """The states before a text begins: a flat tuple of zeros, (batch_size, units) each, bottom layer first."""
        states = [layer.get_initial_state(batch_size) for layer in self.recurrent]
        return tuple(keras.tree.flatten(states))

    def step(self, tokens, states, mask=None, training=False):
        """Reads tokens, starting from given states.

        Args:
            tokens: int (B, T), ids of the vocabulary.
            states: as `initial_state` or an earlier `step` returned them.
            mask: bool (B, T) or None; where it is False the states stay as they are.
            training: passed to the cells.

        Returns:
            `(logits, states)`: logits of each next token, float32 (B, T, V), and the states after the last one.

        Example:

        >>> model = CharLM(Vocabulary("abc"), [RNNCell(5)])
        >>> logits, states = model.step(tf.constant([[0, 2]]), model.initial_state(batch_size=1))
        >>> logits.shape, states[0].shape
        (TensorShape([1, 2, 3]), TensorShape([1, 5]))
        """
        embeddings = tf.convert_to_tensor(self.embedding.embeddings)

        masks = self._draw_masks(tf.shape(tokens)[0]) if training else NO_MASKS

        # What follows the tokens is cut up by rows with them; the masks of the kernels are those of all rows.
        def read(tokens, states, mask, inputs, outputs):
            own = Masks(inputs, outputs, masks.recurrent)
            return self._read_rows(tokens, embeddings, states, mask, training, own)

        by_row = (tokens, tuple(states), mask, masks.inputs, masks.outputs)
        return read(*by_row) if tokens.shape[1] == 1 else in_chains(read, *by_row)

    def _draw_masks(self, rows):
        drops = self.dropout.rates["weight_drop"] > 0
        kernels = [cell.recurrent_kernel.shape for layer in self.recurrent for cell in layer.cells] if drops else ()
        return self.dropout.draw(rows, self.embedding_dim, self._widths, kernels)

    def stateless_step(self, values, tokens, states):
        """One step of a compiled loop: a function of its arguments alone.

        Args:
            values: of `variables`, in their order.
            tokens: int32 (B, 1).
            states: as for `step`.

        Returns:
            `(logits (B, 1, V), states)`.
        """
        with keras.StatelessScope(state_mapping=list(zip(self.variables, values, strict=True))):
            embeddings = tf.convert_to_tensor(self.embedding.embeddings)
            return self._read_rows(tokens, embeddings, states, None, training=False, loop=True)

    def _read_rows(self, tokens, embeddings, states, mask, training, masks=NO_MASKS, loop=False):
        rest, kernels, outputs, ends, vectors = list(states), list(masks.recurrent), [], [], None
        if masks.inputs is not None or (self.skip_connections and len(self.recurrent) > 1):
            vectors = self._vectors(tokens, embeddings, mask, masks.inputs)
        for i, layer in enumerate(self.recurrent):
            count = len(keras.tree.flatten(layer.state_size))
            own, rest = rest[:count], rest[count:]
            nested = keras.tree.pack_sequence_as(layer.state_size, own)
            nested = nested if keras.tree.is_nested(nested) else [nested]
            dropped, kernels = kernels[: len(layer.cells)], kernels[len(layer.cells) :]
            # Ids and the table are the faster way to say the same, where no number of a vector is dropped.
            by_id = i == 0 and masks.inputs is None
            inputs = tokens if by_id else self.layer_inputs(vectors, outputs)
            read, end = layer.run(inputs, nested, mask, training, embeddings if by_id else None, loop, dropped)
            ends += keras.tree.flatten(end)
            outputs.append(read * tf.cast(masks.outputs[i], read.dtype)[:, None] if masks.outputs else read)
        return self.head(self.head_inputs(outputs)), tuple(ends)

    def _vectors(self, tokens, embeddings, mask, factors):
        # What is masked may be no id.
        tokens = tokens if mask is None else tf.where(tf.broadcast_to(mask, tf.shape(tokens)), tokens, 0 * tokens)
        vectors = tf.cast(tf.gather(embeddings, tokens), self.compute_dtype)
        return vectors if factors is None else vectors * tf.cast(factors, vectors.dtype)[:, None]

    def call(self, inputs, training=False):
        """Logits (B, T, V) of tokens (B, T), every row from a zero state."""
        tokens = inputs["tokens"] if isinstance(inputs, dict) else inputs
        logits, _ = self.step(tokens, self.initial_state(tf.shape(tokens)[0]), training=training)
        return logits

    def export(self, filepath, format="tf_saved_model"):
        """Writes the model for those who do not have this package.

        Args:
            filepath: what to make; nothing is overwritten.
            format: "tf_saved_model", a directory that TensorFlow alone generates, scores and steps with
                (`tfcharlm.export.export`); "litert" or "onnx", one step in a file and the vocabulary beside it
                (`tfcharlm.export_litert`, `tfcharlm.export_onnx`).

        Returns:
            The path.

        Raises:
            ValueError: the format is another one, or cannot hold this model.
            FileExistsError: `filepath` exists already.
        """
        writers = {"tf_saved_model": export, "litert": export_litert, "onnx": export_onnx}
        if format not in writers:
            raise ValueError(f"format must be one of {', '.join(writers)}; received {format!r}.")
        return writers[format](self, filepath)

    def get_config(self):
        config = super().get_config()
        config.update(
            vocabulary=self.vocabulary.get_config(),
            cells=[keras.saving.serialize_keras_object(layer.cell) for layer in self.recurrent],
            embedding_dim=self.embedding_dim,
            **self.dropout.rates,
            dropout_seed=self.dropout.seed,
            skip_connections=self.skip_connections,
        )
        return config

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        vocabulary = Vocabulary.from_config(config.pop("vocabulary"))
        cells = [keras.saving.deserialize_keras_object(cell) for cell in config.pop("cells")]
        return cls(vocabulary, cells, **config)
