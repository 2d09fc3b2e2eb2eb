"""What generation requires of a model."""

from collections.abc import Sequence
from typing import Any, Protocol

import tensorflow as tf

from tfcharlm.text import Vocabulary


class LanguageModel(Protocol):
    """A model that reads tokens and predicts logits of the next token; `CharLM` is one.

    B is the number of rows, T the number of tokens per row, V the size of the vocabulary. States are a flat tuple of
    tensors (B, units).

    Example:

    >>> import tfcharlm
    >>> from tfcharlm.generation import GenerationMixin, LanguageModel
    >>> model: LanguageModel = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab"), [tfcharlm.RNNCell(3)])
    >>> isinstance(model, GenerationMixin), model.initial_state(2)[0].shape
    (True, TensorShape([2, 3]))
    """

    vocabulary: Vocabulary
    variables: Sequence[Any]

    def initial_state(self, batch_size: int | tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The states before a text starts."""

    def step(self, tokens: tf.Tensor, states: Sequence[tf.Tensor], mask: tf.Tensor | None = None) -> tuple:
        """`(logits (B, T, V), states)` after tokens int32 (B, T). States do not change where the mask is False."""

    def stateless_step(self, values: Sequence[tf.Tensor], tokens: tf.Tensor, states: Sequence[tf.Tensor]) -> tuple:
        """`(logits (B, 1, V), states)` after tokens int32 (B, 1), with the values of `variables` as an argument."""


class AdaptableModel(LanguageModel, Protocol):
    """A language model that `DynamicEvaluation` can copy and train; `CharLM` is one.

    Example:

    >>> import tfcharlm
    >>> from tfcharlm.generation import AdaptableModel
    >>> model: AdaptableModel = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab"), [tfcharlm.RNNCell(3)])
    >>> len(model.trainable_variables)
    6
    """

    trainable_variables: Sequence[Any]

    def with_vocabulary(self, vocabulary: Vocabulary) -> Any:
        """A new model with the same weights, if the vocabulary is that of this one."""

    def _text_graph_in_python(self) -> Any:
        """The `TextGraph` with which the model generates in Python."""
