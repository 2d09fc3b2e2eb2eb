"""The weights of a recurrence, as cells hold them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import tensorflow as tf

NO_PARAMETERS: Mapping[str, tf.Tensor] = MappingProxyType({})


class Weights(NamedTuple):
    """What a step computes with. A plain tuple of the first two or three will do, too.

    D is the size of the input, H the number of units, G the number of blocks, R the size of the output. R is H, unless
    there is a projection.

    Args:
        kernel: W (D, G*H); None if the input has been multiplied by it already.
        recurrent_kernel: U (R, G*H).
        bias: b (G*H,), or None (default). A recurrence that is separate may have two: (2, G*H), the second of which is
            added to the product of the state.
        parameters: whatever else `step` uses, by name; nothing by default.
    """

    kernel: tf.Tensor
    recurrent_kernel: tf.Tensor
    bias: tf.Tensor | None = None
    parameters: Mapping[str, tf.Tensor] = NO_PARAMETERS


def as_columns(parameters: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The parameters, a vector (n,) as a column (n, 1)."""
    return {name: value[:, None] if len(value.shape) == 1 else value for name, value in parameters.items()}


def separate_biases(bias: tf.Tensor | None) -> tuple[tf.Tensor | None, tf.Tensor | None]:
    """What is added to the product of the input, and to that of the state; None for nothing."""
    if bias is None:
        return None, None
    return (bias, None) if len(bias.shape) == 1 else (bias[0], bias[1])
