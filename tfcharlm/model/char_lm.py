"""CharLM: embedding -> recurrent layers -> logits, trained on streams of text with its state carried along."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfcharlm.artefact import export_model
from tfcharlm.checks import POSITIVE_INTEGER
from tfcharlm.generation import GenerationMixin, check_not_forked
from tfcharlm.layers import RNN, Wiring
from tfcharlm.model.arguments import (
    check_dtypes,
    check_options,
    checked_cells,
    checked_keywords,
    checked_policy,
    checked_vocabulary,
)
from tfcharlm.model.dropout import SequenceDropout
from tfcharlm.model.fixed_layers import FixedLayer, OutputLayer, TokenEmbedding
from tfcharlm.model.given_weights import takes_given_weights
from tfcharlm.model.layer_config import freeze_layers, frozen_layers, unbuilt
from tfcharlm.model.network import RecurrentNetwork
from tfcharlm.model.other_vocabulary import OtherVocabulary
from tfcharlm.model.token_calls import TokenCalls
from tfcharlm.model.training_step import StreamModel
from tfcharlm.text import Vocabulary


@keras.saving.register_keras_serializable(package="tfcharlm")
class CharLM(GenerationMixin, RecurrentNetwork, OtherVocabulary, TokenCalls, FixedLayer, StreamModel):
    r"""A recurrent language model over characters, bytes or words.

    $$ e_t = E[x_t], \quad h_t = \mathrm{cells}(e_t, h_{t-1}), \quad
       p(x_{t+1} \mid x_1 \dots x_t) = \mathrm{softmax}(h_t W + b) $$

    It is a `keras.Model`: `compile`, `fit`, `evaluate`, `save` and callbacks work as usual. Three things are special:

    - The loss is built in. It is the cross-entropy of the next token in nats, a mean over tokens. `fit` and `evaluate`
      also give `accuracy`, `perplexity` and `bits_per_character`.
    - The recurrent state is carried from batch to batch. Row i of a batch starts with the state in which row i of the
      previous batch ended, unless its `start` is set. Gradients stop at the edge of a batch (truncated backpropagation
      through time).
    - A training step with NaN or infinity changes nothing, see `tfcharlm.Guard`.

    A data set yields `({"tokens": int (B, T), "start": bool (B,)}, targets int (B, T))`, as
    `tfcharlm.text.stream_dataset` does: B rows of T tokens. Tokens without `start` are windows that start from a zero
    state. A third element, weights of shape (B, T) or (B,), counts some targets more or not at all. What follows the
    last target of a row that counts is padding, and changes nothing.

    Outside of `fit` and `evaluate`, the state is explicit: `step(tokens, states)` returns logits and the next states.

    Args:
        vocabulary: a `tfcharlm.text.Vocabulary` with V tokens. It is part of the model's config.
        cells: the recurrent layers from the bottom up, a list of Keras RNN cells such as `[tfcharlm.LSTMCell(256)]`.
            Sequences run fastest with the cells of this package, which have fused kernels.
        embedding_dim: length of a token's vector. The default, 64, is about the size of a character set; more
            only takes more time.
        dropout: fraction of each recurrent layer's outputs that is dropped in training. A row drops the same units
            throughout a batch (Gal & Ghahramani 2016); what a layer hands to itself is not dropped. 0 by default:
            dropout harms until a text has been read about six times (docs/training-recipe.md).
        dropout_seed: an integer from 0 on, the seed of everything that is dropped. What the n-th training step drops
            is a function of the seed and n.
        input_dropout: the same fraction for the vectors of the tokens. 0 by default.
        weight_drop: fraction of each recurrent weight matrix that is dropped in a training step (Merity et al. 2018). 0
            by default. It needs cells with fused kernels.
        skip_connections: whether every layer above the first also reads the token vectors, and the head reads all
            layers (Graves 2013). False by default: with one layer it makes no difference.
        members: number of networks, 1 by default. `cells` has the layers of one after the other. Each learns by itself,
            from shared token vectors, and their logits are averaged (Hansen & Salamon 1990).
        **kwargs: `name`, `dtype` (a policy such as "mixed_bfloat16") and the like, as for `keras.Model`.

    Call arguments:
        inputs: tokens int (B, T), or a dictionary with the key "tokens". The call returns logits (B, T, V), and every
            row starts from a zero state.
        training: whether dropout is applied. False by default.
        mask: bool (B, T), False in padding, where states stay as they are. None by default: all tokens are read.

    Raises:
        ValueError: `vocabulary` is not a `Vocabulary`; `cells` is empty, or holds something that is not an RNN cell or
            that computes in another dtype than the model; `embedding_dim` is not a positive integer; a fraction is not
            from 0 to below 1; or `weight_drop` is used with a cell that has no fused kernel.

    Example:

    >>> import keras
    >>> import tfcharlm
    >>> text = "to be or not to be\n" * 20
    >>> vocabulary = tfcharlm.text.Vocabulary.from_text(text)
    >>> model = tfcharlm.CharLM(vocabulary, cells=[tfcharlm.LSTMCell(16)], embedding_dim=8)
    >>> model.compile(optimizer=keras.optimizers.Adam(0.01))
    >>> data = tfcharlm.text.stream_dataset(vocabulary.encode(text), batch_size=4, sequence_length=10, seed=0)
    >>> history = model.fit(data, epochs=2, verbose=0)
    >>> sorted(history.history)
    ['accuracy', 'bits_per_character', 'loss', 'perplexity']
    >>> model.generate("to", max_length=5, seed=1).startswith("to")
    True

    Reference: Mikolov et al. (2010), Recurrent neural network based language model; Graves (2013), Generating
    sequences with recurrent neural networks.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        cells: Sequence[keras.layers.Layer],
        embedding_dim: int = 64,
        dropout: float = 0.0,
        dropout_seed: int = 0,
        input_dropout: float = 0.0,
        weight_drop: float = 0.0,
        skip_connections: bool = False,
        members: int = 1,
        **kwargs: Any,
    ) -> None:
        # Weights could not be drawn.
        check_not_forked()
        super().__init__(**checked_keywords(kwargs))
        self.vocabulary = checked_vocabulary(vocabulary)
        self.embedding_dim = embedding_dim = POSITIVE_INTEGER.check("embedding_dim", embedding_dim)
        self.dropout_masks = SequenceDropout(dropout_seed, dropout, input_dropout, weight_drop)
        policy = checked_policy(self.dtype_policy)
        # Keras's default, uniform within 0.05, leaves the gates almost blind to the token. Two minutes on Shakespeare's
        # plays ended at 2.59 nats with it and at 1.71 with unit variance; docs/design-notes.md says what else differed.
        normal = keras.initializers.RandomNormal(stddev=1.0)
        self.embedding = TokenEmbedding(len(vocabulary), embedding_dim, normal, dtype=policy, name="embedding")
        self.recurrent = [
            RNN(cell, return_sequences=True, return_state=True, dtype=policy, name=f"recurrent_{i}")
            for i, cell in enumerate(checked_cells(cells, policy))
        ]
        for layer in self.recurrent:
            # tf.train.Checkpoint and tf.saved_model.save do not look into lists.
            setattr(self, layer.name, layer)
        check_options(self.recurrent, weight_drop, skip_connections, members)
        self.wiring = Wiring(len(self.recurrent), members, skip_connections)
        # In the precision of the weights: bfloat16 logits would have two digits.
        self.head = OutputLayer(len(vocabulary), dtype=policy.variable_dtype, name="head")
        # Otherwise "auto" would let XLA compile the training step, which fails: the carried states have an open batch
        # dimension.
        self.supports_jit = False
        self.build((None, None))
        self.prepare_streams()

    def build(self, input_shape: Any = None) -> None:
        """Makes the weights. The constructor calls it, because they do not depend on the shape of the input."""
        if self.built:
            return
        with takes_given_weights():
            self.embedding.build((None, None))
            widths = self.wiring.input_widths(self.embedding_dim, self.layer_widths)
            for layer, width in zip((*self.recurrent, self.head), widths, strict=True):
                layer.build((None, None, width))
        self.built: bool = True

    def save(self, filepath: Path | str, *arguments: Any, **named: Any) -> None:
        """Saves the model, its optimizer and all that `compile` was given, as `keras.Model.save` does.

        Args:
            filepath: a path that ends in `.keras`.
            *arguments: further arguments of `keras.Model.save`, in their order.
            **named: further arguments of `keras.Model.save`.

        Raises:
            ValueError: the path ends as that of an HDF5 file.
        """
        if Path(filepath).suffix in (".h5", ".hdf5"):
            raise ValueError(
                f"filepath must end in .keras, because Keras does not restore an optimizer from HDF5; "
                f"received {filepath!s:.80}. Type model.save('model.keras')."
            )
        super().save(filepath, *arguments, **named)

    def export(self, filepath: Path | str, format: str = "tf_saved_model", **options: Any) -> Path:
        """Writes the model for machines without this package.

        Args:
            filepath: the directory or file to make; nothing is overwritten.
            format: "tf_saved_model" (default), a directory with which TensorFlow alone generates, scores and steps
                (`tfcharlm.artefact.export_saved_model`), and from which `tfcharlm.load_model` rebuilds the model;
                "html", a page that writes in a browser (`export_html`); "litert" or "onnx", one step in a file, with
                the vocabulary beside it (`tfcharlm.export_litert`, `tfcharlm.export_onnx`).
            **options: options of the format: `dtype` of "onnx" and "html", `name` and `prompt` of "html". Those of
                `keras.Model.export` are refused, because the signatures are fixed.

        Returns:
            The path.

        Raises:
            ValueError: `format` is unknown, or cannot hold this model.
            FileExistsError: `filepath` exists already.

        Example:

        >>> import tempfile
        >>> import tfcharlm
        >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc\\n"), [tfcharlm.RNNCell(5)])
        >>> sorted(path.name for path in model.export(tempfile.mkdtemp() + "/abc/1").iterdir())
        ['README.md', 'assets', 'assets.extra', 'fingerprint.pb', 'saved_model.pb', 'variables']
        """
        return export_model(self, filepath, format, **options)

    @property
    def supports_xla(self) -> bool:  # type: ignore[override]
        """Whether XLA can compile the generation loop. It may be unable to compile a cell without a fused kernel."""
        return all(layer.why_not_fused is None for layer in self.recurrent)

    @property
    def random_variables(self) -> list[tf.Variable]:
        """The counter of the dropout masks."""
        return [self.dropout_masks.counter]

    def get_config(self) -> dict[str, Any]:
        check_dtypes(self.recurrent, self.dtype_policy)
        config = super().get_config()
        config.update(
            vocabulary=self.vocabulary.get_config(),
            cells=[keras.saving.serialize_keras_object(layer.cell) for layer in self.recurrent],
            embedding_dim=self.embedding_dim,
            **self.dropout_masks.rates,
            dropout_seed=self.dropout_masks.seed,
            skip_connections=self.wiring.skip_connections,
            members=self.wiring.members,
        )
        frozen = frozen_layers(self)
        # Otherwise the key is left out, as in earlier versions.
        return config | {"frozen_layers": frozen} if frozen else config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "CharLM":
        config = dict(config)
        vocabulary = Vocabulary.from_config(config.pop("vocabulary"))
        cells = [keras.saving.deserialize_keras_object(unbuilt(cell)) for cell in config.pop("cells")]
        return cls.from_parts(vocabulary, cells, **config)

    @classmethod
    def from_parts(cls, *arguments: Any, frozen_layers: Sequence[str] = (), **named: Any) -> "CharLM":
        """A model from the arguments of the constructor, and from the names of the layers that are frozen."""
        model = cls(*arguments, **named)
        freeze_layers(model, frozen_layers)
        return model
