"""How the next token is drawn: the numbers, their bounds, and errors that name them. It needs no TensorFlow."""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfcharlm.checks import Bounds, plain_number, short_repr

if TYPE_CHECKING:
    import tensorflow as tf


class Sampling(NamedTuple):
    """How the next token is drawn: numbers in Python, scalar tensors in a graph.

    A new sampling rule needs a field here, its bounds in `BOUNDS`, their explanation in `MEANINGS`, its effect in
    `sample` and `draw_rows`, and a place in `truncates` if it excludes tokens.

    Args:
        temperature: float32. 0 takes the most likely token every time. 1 (default) samples from the distribution of the
            model.
        top_k: int32; draws among the k most likely tokens. 0 (default) is off.
        top_p: float32; draws among the most likely tokens that together have this probability. 1 (default) is off.

    Example:

    >>> from tfcharlm.generation import Sampling
    >>> Sampling(temperature=0.5).checked()
    Sampling(temperature=0.5, top_k=0, top_p=1.0)
    """

    temperature: "float | tf.Tensor" = 1.0
    top_k: "int | tf.Tensor" = 0
    top_p: "float | tf.Tensor" = 1.0

    def checked(self) -> "Sampling":
        """The same as plain numbers. A ValueError names the first one that is out of bounds."""
        numbers: dict[str, Any] = {}
        for name, value in self._asdict().items():
            bounds = BOUNDS[name]
            # The graph computes in float32, where 1e-50 is 0 and 1e39 is infinite.
            number = value if bounds.whole or plain_number(value) is None else _float32(value)
            if number not in bounds:
                raise ValueError(f"{name} must be {bounds}{MEANINGS[name]}; received {short_repr(value)}.")
            numbers[name] = plain_number(value)
        return Sampling(**numbers)

    @property
    def truncates(self) -> bool:
        """Whether tokens may be excluded, for numbers in Python."""
        return self.top_k > 0 or self.top_p < 1

    def tensors(self) -> "Sampling":
        """The same as scalar tensors."""
        import tensorflow as tf

        dtypes = (tf.int32 if bounds.whole else tf.float32 for bounds in BOUNDS.values())
        return Sampling(*(tf.constant(value, dtype) for value, dtype in zip(self, dtypes, strict=True)))


BOUNDS = Sampling(Bounds(low=0), Bounds(low=0, high=2**31 - 1, whole=True), Bounds(above=0, high=1))._asdict()
# The number of tokens to write, whose only limit in Python is that of int32; and the seed of a row.
LENGTH = Bounds(low=0, high=2**31 - 1, whole=True)
ROW_SEED = Bounds(low=-(2**63), high=2**63 - 1, whole=True)
MEANINGS = Sampling(" (0: always the most likely token)", " (0: off)", " (1: off)")._asdict()


def _float32(value):
    with np.errstate(over="ignore"):
        try:
            return float(np.float32(plain_number(value)))
        except OverflowError:
            return math.inf
