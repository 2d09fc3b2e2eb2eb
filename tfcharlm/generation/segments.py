"""A text in segments: its losses, and the gradients after each segment, in one graph."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfcharlm.generation.protocol import LanguageModel


class Segments:
    """Reads a text with a model, segment by segment, and hands out the gradients of each.

    Args:
        model: a `LanguageModel`.
        variables: those of its variables whose gradients are wanted.
        length: tokens in a segment.
    """

    def __init__(self, model: LanguageModel, variables: Sequence[tf.Variable], length: int) -> None:
        self._step, self._variables, self.length = model.step, variables, length
        specs = [tf.TensorSpec(state.shape, state.dtype) for state in model.initial_state(1)]
        self._signature = [tf.TensorSpec([None], tf.int32), *specs]
        self.losses = tf.function(self._losses, input_signature=self._signature, autograph=False)

    def function(self, apply: Callable[[tf.Tensor, list[tf.Tensor]], list[Any]]) -> Callable:
        """A function that reads whole segments, and calls `apply` after each.

        Args:
            apply: `apply(number of the segment, gradients of the sum of its losses) -> operations`. The next segment is
                read after these operations.

        Returns:
            `function(tokens int32 (n * length + 1,), *states) -> (losses (n * length,), *states)`: the losses of all
            tokens but the first in nats, and the states after all tokens but the last.
        """

        def read(tokens, *states):
            count = (tf.shape(tokens)[0] - 1) // self.length
            losses = tf.TensorArray(tf.float32, count, element_shape=(self.length,))

            def one(number, losses, *states):
                begin = number * self.length
                segment = tf.ensure_shape(tokens[begin : begin + self.length + 1], (self.length + 1,))
                with tf.GradientTape() as tape:
                    of_tokens, *states = self._losses(segment, *states)
                    loss = tf.reduce_sum(of_tokens)
                # The gradient of an embedding is a list of slices.
                gradients = list(map(tf.convert_to_tensor, tape.gradient(loss, self._variables)))
                with tf.control_dependencies(apply(number, gradients)):
                    return number + 1, losses.write(number, of_tokens), *map(tf.identity, states)

            first = (0, losses, *states)
            _, losses, *states = tf.while_loop(lambda number, *_: number < count, one, first, parallel_iterations=1)
            return losses.concat(), *states

        return tf.function(read, input_signature=self._signature, autograph=False)

    def _losses(self, tokens, *states):
        logits, states = self._step(tokens[None, :-1], states)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tokens[None, 1:], tf.cast(logits, tf.float32))
        return losses[0], *states
