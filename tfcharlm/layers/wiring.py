"""What each recurrent layer of a model reads, and what the head reads: stacks, skip connections, and ensembles."""

from collections.abc import Sequence
from typing import NamedTuple

# Stands for the vectors of the tokens, beside the numbers of layers.
TOKENS = -1


class Wiring(NamedTuple):
    """The connections of a model with a number of recurrent layers.

    The layers are those of one network after another, each from the bottom up. All networks read the same token
    vectors, and their logits are averaged.

    Args:
        num_layers: number of recurrent layers in all networks together.
        members: number of networks; 1 by default.
        skip_connections: whether every layer above the first also reads the token vectors, and the head reads all
            layers. False by default.

    Example:

    >>> from tfcharlm.layers import Wiring
    >>> wiring = Wiring(num_layers=4, members=2)
    >>> [wiring.layer_reads(layer) for layer in range(4)], wiring.head_reads()
    ([(-1,), (0,), (-1,), (2,)], [(1,), (3,)])

    Reference: Graves (2013), Generating sequences with recurrent neural networks, for skip connections; Hansen &
    Salamon (1990), Neural network ensembles.
    """

    num_layers: int
    members: int = 1
    skip_connections: bool = False

    def layer_reads(self, layer: int) -> tuple[int, ...]:
        """What a layer reads, in this order: numbers of layers, and `TOKENS`."""
        if layer % self._depth == 0:
            return (TOKENS,)
        return (layer - 1, TOKENS) if self.skip_connections else (layer - 1,)

    def head_reads(self) -> list[tuple[int, ...]]:
        """The numbers of the layers that the head reads, for each network."""
        ends = range(self._depth, self.num_layers + 1, self._depth)
        return [tuple(range(end - self._depth, end)) if self.skip_connections else (end - 1,) for end in ends]

    def input_widths(self, embedding_dim: int, widths: Sequence[int]) -> list[int]:
        """How many numbers each layer reads, and last the head.

        Args:
            embedding_dim: length of a token's vector.
            widths: the sizes of the outputs of all layers.
        """
        reads = [self.layer_reads(layer) for layer in range(self.num_layers)] + [sum(self.head_reads(), ())]
        return [sum(embedding_dim if i == TOKENS else widths[i] for i in sources) for sources in reads]

    @property
    def _depth(self):
        return self.num_layers // self.members
