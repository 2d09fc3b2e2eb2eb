"""Which numbers of a recording a picture shows, and the range of their colors."""

import numpy as np


def array_of(recorded, layer, kind):
    """The array (T, units); a ValueError that says which layers and kinds there are."""
    if isinstance(layer, bool) or layer not in range(len(recorded.layers)):
        raise ValueError(f"layer must be a whole number from 0 to {len(recorded.layers) - 1}; received {layer!r}.")
    if kind not in recorded.layers[layer]:
        known = ", ".join(recorded.layers[layer])
        raise ValueError(f"layer {layer} has no {kind!r}; it has {known}.")
    return recorded.layers[layer][kind]


def checked_unit(values, unit):
    """The number of a unit; a ValueError if there is none of that number in (T, units)."""
    if isinstance(unit, bool) or unit not in range(values.shape[1]):
        raise ValueError(f"unit must be a whole number from 0 to {values.shape[1] - 1}; received {unit!r}.")
    return int(unit)


def color_range(is_gate, values):
    """`(lowest, highest)`: from closed to open for a gate, else as far to both sides of 0 as the greatest magnitude."""
    if is_gate:
        return 0.0, 1.0
    # NaN and infinite values, of a model that has diverged, have no color.
    finite = values[np.isfinite(values)]
    limit = float(np.abs(finite).max(initial=0.0)) or 1.0
    return -limit, limit
