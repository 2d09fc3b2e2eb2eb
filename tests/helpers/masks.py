"""Masks of padding by name, bool (batch, length), False where there is nothing to read."""

import numpy as np


def make_mask(rng, name, batch, length):
    """A random mask: "none" (which is None), "holes", "padding" at the end, or holes with "a row of nothing"."""
    if name == "none":
        return None
    if name == "padding":
        return np.arange(length) < rng.integers(0, length + 1, size=(batch, 1))
    mask = rng.random((batch, length)) < 0.6
    if name == "a row of nothing":
        mask[rng.integers(batch)] = False
    return mask
