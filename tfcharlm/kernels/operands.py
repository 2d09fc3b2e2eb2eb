"""What the passes of the fused kernel take, and what one of them saves for the other."""

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

from tfcharlm.kernels.recurrences import Recurrence


class Sequence(NamedTuple):
    """What the loops over one sequence share.

    Args:
        recurrence: what a step computes between its matrix products.
        inputs: (B, T, D).
        is_real: None, or bool (T, 1, B): False in padding, where the states of a column do not change.
        dtype: of the operands of the products; everything else is float32 at least.
        needs_input_gradient: False for inputs that nothing trainable has made.
    """

    recurrence: Recurrence
    inputs: tf.Tensor
    is_real: tf.Tensor | None = None
    dtype: tf.DType = tf.float32
    needs_input_gradient: bool = True

    @property
    def steps(self) -> int | tf.Tensor:
        """T, as a number where it is known when the graph is built."""
        return self.inputs.shape[1] if self.inputs.shape[1] is not None else tf.shape(self.inputs)[1]


class Operands(NamedTuple):
    """What a sequence is computed from, and differentiated by, besides its inputs.

    Args:
        matrices: `([W; b; U],)`, (D + H, G*H): the rows that multiply the input, then those that multiply the state. A
            recurrence that is separate has two matrices, `([W; b], U)` or `([W; b], [U; b'])`.
        states: the states before the first step, (size, B) each, in the order of the recurrence.
        parameters: of the recurrence, by name.
    """

    matrices: tuple[tf.Tensor, ...]
    states: tuple[tf.Tensor, ...]
    parameters: Mapping[str, tf.Tensor]


class Saved(NamedTuple):
    """What the forward pass saves for the backward pass.

    Args:
        residuals: for every step, what the recurrence saves for its own backward pass.
        outputs: h after every step, (B, T, H).
    """

    residuals: tuple[tf.TensorArray, ...]
    outputs: tf.Tensor
