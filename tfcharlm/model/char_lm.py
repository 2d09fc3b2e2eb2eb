"""CharLM: embedding -> recurrent layers -> logits, trained on streams of text with its state carried along."""

import keras
import tensorflow as tf

from tfcharlm.artefact import export_litert, export_onnx, export_saved_model
from tfcharlm.generation import GenerationMixin
from tfcharlm.layers import RNN
from tfcharlm.model.arguments import check_options, checked_cells, checked_vocabulary
from tfcharlm.model.dropout import SequenceDropout
from tfcharlm.model.network import RecurrentNetwork
from tfcharlm.model.streaming import StreamModel
from tfcharlm.text import Vocabulary


@keras.saving.register_keras_serializable(package="tfcharlm")
class CharLM(GenerationMixin, RecurrentNetwork, StreamModel):
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
        self.dropout_masks = SequenceDropout(dropout_seed, dropout, input_dropout, weight_drop)
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
        self.prepare_streams()

    def build(self, input_shape=None):
        """Makes the weights. The constructor calls it: no shape of the input matters to them."""
        if self.built:
            return
        self.embedding.build((None, None))
        below, more = self.embedding_dim, 0
        for layer, width in zip(self.recurrent, self.layer_widths, strict=True):
            layer.build((None, None, below + more))
            below, more = width, self.embedding_dim if self.skip_connections else 0
        self.head.build((None, None, sum(self.layer_widths) if self.skip_connections else below))
        self.built = True

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
                (`tfcharlm.artefact.export.export`); "litert" or "onnx", one step in a file and the vocabulary beside it
                (`tfcharlm.export_litert`, `tfcharlm.export_onnx`).

        Returns:
            The path.

        Raises:
            ValueError: the format is another one, or cannot hold this model.
            FileExistsError: `filepath` exists already.
        """
        writers = {"tf_saved_model": export_saved_model, "litert": export_litert, "onnx": export_onnx}
        if format not in writers:
            raise ValueError(f"format must be one of {', '.join(writers)}; received {format!r}.")
        return writers[format](self, filepath)

    @property
    def compiles_generation(self):
        """Whether XLA compiles the loop that generates: it may not be able to compile a cell of a user."""
        return all(layer.fallback_reason is None for layer in self.recurrent)

    @property
    def random_variables(self):
        """The counter of the dropout masks."""
        return [self.dropout_masks.counter]

    def get_config(self):
        config = super().get_config()
        config.update(
            vocabulary=self.vocabulary.get_config(),
            cells=[keras.saving.serialize_keras_object(layer.cell) for layer in self.recurrent],
            embedding_dim=self.embedding_dim,
            **self.dropout_masks.rates,
            dropout_seed=self.dropout_masks.seed,
            skip_connections=self.skip_connections,
        )
        return config

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        vocabulary = Vocabulary.from_config(config.pop("vocabulary"))
        cells = [keras.saving.deserialize_keras_object(cell) for cell in config.pop("cells")]
        return cls(vocabulary, cells, **config)
