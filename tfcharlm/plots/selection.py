"""What a picture shows: the array of a layer, the number of a unit, and the range of the colors."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np


class Recording(Protocol):
    """What pictures use of `tfcharlm.analysis.Activations`."""

    @property
    def pieces(self) -> Sequence[str]: ...

    @property
    def layers(self) -> Sequence[Mapping[str, np.ndarray]]: ...

    @property
    def gate_names(self) -> Sequence[str]: ...


def array_of(recorded: Recording, layer: int, kind: str) -> np.ndarray:
    """The array (T, units) of a layer; a ValueError names the layers and kinds that exist."""
    if isinstance(layer, bool) or layer not in range(len(recorded.layers)):
        raise ValueError(f"layer must be a whole number from 0 to {len(recorded.layers) - 1}; received {layer!r}.")
    if kind not in recorded.layers[layer]:
        known = ", ".join(recorded.layers[layer])
        raise ValueError(f"layer {layer} has no {kind!r}; it has {known}.")
    return recorded.layers[layer][kind]


def checked_unit(values: np.ndarray, unit: int) -> int:
    """The number of a unit; a ValueError if the array (T, units) has no such unit."""
    if isinstance(unit, bool) or unit not in range(values.shape[1]):
        raise ValueError(f"unit must be a whole number from 0 to {values.shape[1] - 1}; received {unit!r}.")
    return int(unit)


def color_range(is_gate: bool, values: np.ndarray) -> tuple[float, float]:
    """`(lowest, highest)`: 0 (closed) and 1 (open) for a gate, else minus and plus the greatest magnitude."""
    if is_gate:
        return 0.0, 1.0
    # A model that has diverged has NaN and infinite values; they get no color.
    finite = values[np.isfinite(values)]
    limit = float(np.abs(finite).max(initial=0.0)) or 1.0
    return -limit, limit
