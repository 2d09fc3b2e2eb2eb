"""The parameters of a character language model: the arrays that training learns.

The type of its weights determines the kind of a layer, and kinds may be mixed. The shapes of the kernels determine
whether the model has skip connections.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfcharlm.reference.gru import GRUWeights
from tfcharlm.reference.lstm import LSTMWeights
from tfcharlm.reference.rnn import RNNWeights


class Parameters(NamedTuple):
    """Everything that is learned; also the shape of its gradient."""

    embedding: np.ndarray  # (V, E)
    recurrent: tuple[RNNWeights | LSTMWeights | GRUWeights, ...]  # one per layer
    head_kernel: np.ndarray  # (H, V), H of the last layer, or with skip connections of all layers together
    head_bias: np.ndarray  # (V,)


def random_parameters(
    rng: np.random.Generator,
    vocabulary_size: int,
    embedding_dim: int,
    layers: Sequence[tuple[str, int]],
    scale: float = 0.5,
    skip_connections: bool = False,
) -> Parameters:
    """Parameters drawn from a normal distribution, biases included.

    Args:
        rng: `numpy.random.Generator`.
        vocabulary_size: V.
        embedding_dim: E.
        layers: `("rnn", "lstm" or "gru", units)` pairs, starting with the layer that reads the embedding.
        scale: standard deviation. The default 0.5 is for tests: large enough to make the gates nonlinear, and too small
            to saturate them.
        skip_connections: whether the shapes are those of a model with skip connections; False by default.

    Returns:
        `Parameters`.

    Example:
        >>> import numpy as np
        >>> from tfcharlm.reference import random_parameters
        >>> rng = np.random.default_rng(0)
        >>> parameters = random_parameters(rng, 11, 3, [("lstm", 7), ("rnn", 2)])
        >>> [weights.kernel.shape for weights in parameters.recurrent], parameters.head_kernel.shape
        ([(3, 28), (7, 2)], (2, 11))
    """

    def draw(*shape):
        return rng.normal(0.0, scale, shape)

    kinds: dict[str, tuple[type, int]] = {"rnn": (RNNWeights, 1), "lstm": (LSTMWeights, 4), "gru": (GRUWeights, 3)}
    embedding, recurrent, width = draw(vocabulary_size, embedding_dim), [], embedding_dim
    for kind, units in layers:
        make, num_blocks = kinds[kind]
        columns = num_blocks * units
        bias = draw(2, columns) if kind == "gru" else draw(columns)
        recurrent.append(make(draw(width, columns), draw(units, columns), bias))
        width = units + embedding_dim if skip_connections else units
    width = sum(units for _, units in layers) if skip_connections else width
    head_kernel, head_bias = draw(width, vocabulary_size), draw(vocabulary_size)
    return Parameters(embedding, tuple(recurrent), head_kernel, head_bias)


def has_skip_connections(parameters: Parameters) -> bool:
    """Whether the shapes of the kernels are those of a model with skip connections."""
    embedding_dim, units = parameters.embedding.shape[1], layer_units(parameters)
    plain = [embedding_dim, *units]
    skips = [embedding_dim, *(below + embedding_dim for below in units[:-1]), sum(units)]
    rows = [len(weights.kernel) for weights in parameters.recurrent]
    rows.append(len(parameters.head_kernel))
    if rows not in (plain, skips):
        raise ValueError(f"kernels have {rows} rows, expected {plain}, or {skips} with skip connections")
    return rows != plain


def layer_units(parameters: Parameters) -> list[int]:
    """The number of units of every layer."""
    return [len(weights.recurrent_kernel) for weights in parameters.recurrent]
