"""A call of the model with tokens, as other Keras models make it: dtypes, shapes and masks of inputs and outputs."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfcharlm.model.inputs import as_tensors, check_rank, token_ids, tokens_and_start


class TokenCalls(keras.Model):
    """A base of `CharLM`: what makes a model of tokens a layer of other models, as `keras.layers.Embedding` is."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def __call__(self, inputs: Any, *arguments: Any, **named: Any) -> Any:
        inputs = as_tensors(inputs, "inputs")
        tokens, _ = tokens_and_start(inputs)
        # An error inside `call` would reach the user in several lines.
        check_rank(tokens.shape) if isinstance(tokens, keras.KerasTensor) else token_ids(tokens)
        return super().__call__(inputs, *arguments, **named)

    def call(self, inputs: Any, training: bool = False, mask: Any = None) -> tf.Tensor:
        """Logits (B, T, V) of tokens (B, T); every row starts from a zero state."""
        tokens = token_ids(tokens_and_start(inputs)[0])
        states = self.initial_state(tf.shape(tokens)[0])
        return self.step(tokens, states, mask=self.compute_mask(inputs, mask), training=training)[0]

    @property
    def input_dtype(self) -> str:
        """The dtype of tokens. Keras makes inputs of it where nobody gave a dtype; a bfloat16 cannot hold all ids."""
        return "int32"

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of the logits (B, T), which is the mask of the tokens."""
        return previous_mask if previous_mask is None else tokens_and_start(previous_mask)[0]

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """The shape of the logits, `(B, T, V)`, from that of the tokens, `(B, T)`."""
        shape: Sequence[int | None] = input_shape["tokens"] if isinstance(input_shape, dict) else input_shape
        check_rank(shape)
        return (*shape, len(self.vocabulary))

    def compute_output_spec(self, inputs: Any, training: bool = False, mask: Any = None) -> keras.KerasTensor:
        """The logits as a symbolic tensor."""
        tokens, _ = tokens_and_start(inputs)
        return keras.KerasTensor(self.compute_output_shape(tokens.shape), dtype=self.head.compute_dtype)
