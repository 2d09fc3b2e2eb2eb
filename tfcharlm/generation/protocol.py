"""What generation asks of a model, written down once."""

from collections.abc import Sequence
from typing import Protocol

import tensorflow as tf

from tfcharlm.text import Vocabulary


class LanguageModel(Protocol):
    """A model that reads tokens and gives logits of the next one; `CharLM` is one.

    B rows, T tokens of each, V tokens in the vocabulary. States are a flat tuple of tensors (B, units).
    """

    vocabulary: Vocabulary
    variables: Sequence

    def initial_state(self, batch_size: int | tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The states before a text begins."""

    def step(self, tokens: tf.Tensor, states: Sequence[tf.Tensor], mask: tf.Tensor | None = None) -> tuple:
        """`(logits (B, T, V), states)` of tokens int32 (B, T); the states stay where the mask (B, T) is False."""

    def stateless_step(self, values: Sequence[tf.Tensor], tokens: tf.Tensor, states: Sequence[tf.Tensor]) -> tuple:
        """`(logits (B, 1, V), states)` of tokens int32 (B, 1), with the values of `variables` as arguments."""
