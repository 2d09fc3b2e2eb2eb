r"""From logits to the next id, as pure tensor functions.

The noise is no generator's next draw but a function of (seed, position): `uniform` is the block cipher Threefry-2x32
of Salmon et al. (2011), with the seed as key and the position as counter. So the noise of a row depends
neither on the rows beside it nor on how many characters were asked for, and is the same everywhere.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfcharlm.checks import Bounds, plain_number

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry(key, counter):
    """Threefry-2x32 with 20 rounds: two uint32 words of key and two of counter give two words of noise.

    Args:
        key: a pair of uint32 tensors.
        counter: a pair of uint32 tensors that broadcast against the key.

    Returns:
        A pair of uint32 tensors.

    Example (the first known answer of the authors' library, Random123):

    >>> zero = tf.constant(0, tf.uint32)
    >>> [hex(word.numpy()) for word in threefry((zero, zero), (zero, zero))]
    ['0x6b200159', '0x99ba4efe']

    Reference: Salmon, Moraes, Dror & Shaw (2011), Parallel random numbers: as easy as 1, 2, 3.
    """
    keys = (*key, key[0] ^ key[1] ^ tf.constant(0x1BD11BDA, tf.uint32))
    a, b = counter[0] + keys[0], counter[1] + keys[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            a = a + b
            b = tf.bitwise.left_shift(b, tf.constant(rotation, tf.uint32)) | tf.bitwise.right_shift(
                b, tf.constant(32 - rotation, tf.uint32)
            )
            b = a ^ b
        a = a + keys[(group + 1) % 3]
        b = b + keys[(group + 2) % 3] + tf.constant(group + 1, tf.uint32)
    return a, b


def uniform(seeds, positions):
    """Uniform numbers in the open interval (0, 1), one for every row's seed and every position.

    Args:
        seeds: int64 (B,).
        positions: int32 (L,).

    Returns:
        float32 (B, L): odd multiples of 2^-24, so that neither 0 nor 1 occurs and no rounding does.

    Example:

    >>> uniform(tf.constant([7], tf.int64), tf.range(2)) == uniform(tf.constant([7], tf.int64), tf.range(9))[:, :2]
    <tf.Tensor: shape=(1, 2), dtype=bool, numpy=array([[ True,  True]])>
    """
    seeds = tf.cast(seeds, tf.uint64)[:, None]
    low = tf.cast(seeds & tf.constant(0xFFFFFFFF, tf.uint64), tf.uint32)
    high = tf.cast(tf.bitwise.right_shift(seeds, tf.constant(32, tf.uint64)), tf.uint32)
    positions = tf.cast(positions, tf.uint32)[None]
    noise, _ = threefry((low, high), (positions, tf.zeros_like(positions)))
    # uint32 has no cast to float32 on every device; 23 bits fit an int32.
    numerators = 2 * tf.cast(tf.bitwise.right_shift(noise, tf.constant(9, tf.uint32)), tf.int32) + 1
    return tf.cast(numerators, tf.float32) * 2.0**-24


def truncate_logits(logits, top_k, top_p):
    """Sets to -inf what top-k and then top-p leave out.

    Args:
        logits: (B, V), after the temperature.
        top_k: int32 scalar; keep the k most likely ids (all that tie with the k-th). 0: keep all.
        top_p: float32 scalar in (0, 1]; keep the fewest most likely ids whose probabilities, among those that top-k
            left, add up to at least p, and all that tie with the last of them. 1: keep all.

    Returns:
        (B, V).

    Example:

    >>> truncate_logits(tf.constant([[3.0, 1.0, 2.0]]), tf.constant(2), tf.constant(1.0)).numpy()
    array([[  3., -inf,   2.]], dtype=float32)

    Reference: Fan et al. (2018) for top-k; Holtzman et al. (2020) for top-p.
    """
    size = tf.shape(logits)[-1]
    descending = tf.sort(logits, axis=-1, direction="DESCENDING")
    k = tf.where(top_k > 0, tf.minimum(top_k, size), size)
    descending = tf.where(tf.range(size) < k, descending, -float("inf"))
    probabilities = tf.nn.softmax(descending)
    before = tf.cumsum(probabilities, axis=-1, exclusive=True)
    kept = (tf.range(size) < k) & ((before < top_p) | (top_p >= 1.0))
    threshold = tf.reduce_min(tf.where(kept, descending, float("inf")), axis=-1, keepdims=True)
    return tf.where(logits >= threshold, logits, -float("inf"))


class Sampling(NamedTuple):
    """How the next token is drawn: numbers in Python, scalar tensors in a graph.

    A rule of sampling is a field here, its bounds in `BOUNDS`, and what `sample` does with it.

    Args:
        temperature: float32; 0 takes the most likely token every time, 1 samples from the model's distribution.
        top_k: int32; draw among the k most likely tokens; 0 is off.
        top_p: float32; draw among the most likely tokens that together have this probability; 1 is off.
    """

    temperature: float | tf.Tensor = 1.0
    top_k: int | tf.Tensor = 0
    top_p: float | tf.Tensor = 1.0

    def checked(self):
        """The same as plain numbers; a ValueError that names the first one that is out of bounds."""
        numbers = {}
        for name, value in self._asdict().items():
            bounds = BOUNDS[name]
            # As the graph will see it: in float32, 1e-50 is 0 and 1e39 infinite.
            number = value if bounds.whole or plain_number(value) is None else _float32(value)
            if number not in bounds:
                raise ValueError(f"{name} must be {bounds}{MEANINGS[name]}; received {value!r:.80}.")
            numbers[name] = plain_number(value)
        return Sampling(**numbers)

    def tensors(self):
        """The same as scalar tensors."""
        return Sampling(*(tf.constant(value, spec.dtype) for value, spec in zip(self, SPECS, strict=True)))


BOUNDS = Sampling(Bounds(low=0), Bounds(low=0, high=2**31 - 1, whole=True), Bounds(above=0, high=1))._asdict()
MEANINGS = Sampling(" (0: always the most likely token)", " (0: off)", " (1: off)")._asdict()
SPECS = Sampling(
    *(tf.TensorSpec([], tf.int32 if bounds.whole else tf.float32, name) for name, bounds in BOUNDS.items())
)


def _float32(value):
    with np.errstate(over="ignore"):
        try:
            return float(np.float32(plain_number(value)))
        except OverflowError:
            return math.inf


def sample(logits, uniforms, sampling):
    r"""The next id of every row, by inversion of the cumulative distribution.

    $$ p = \mathrm{softmax}(\mathrm{logits} / \mathrm{temperature}), \qquad
       \mathrm{id} = \min \{ i : p_0 + \dots + p_i \ge u \} $$

    Args:
        logits: (B, V).
        uniforms: (B,) in (0, 1), from `uniform`.
        sampling: a `Sampling`. With temperature 0 it is the most likely id, whatever the noise.

    Returns:
        int32 (B,).

    Example:

    >>> logits = tf.math.log([[0.2, 0.5, 0.3]])
    >>> [int(sample(logits, tf.constant([u]), Sampling())[0]) for u in (0.1, 0.3, 0.9)]
    [0, 1, 2]
    """
    logits = tf.cast(logits, tf.float32)
    temperature, top_p = tf.cast(sampling.temperature, tf.float32), tf.cast(sampling.top_p, tf.float32)
    logits = logits - tf.reduce_max(logits, axis=-1, keepdims=True)
    # The largest logit is 0 by now: however small the temperature, no infinity is subtracted from another.
    scaled = logits / tf.where(temperature > 0, temperature, 1.0)
    scaled = tf.cond(
        tf.logical_or(sampling.top_k > 0, top_p < 1.0),
        lambda: truncate_logits(scaled, sampling.top_k, top_p),
        lambda: scaled,
    )
    cumulative = tf.cumsum(tf.nn.softmax(scaled), axis=-1)
    # Relative to the last sum, which rounding may keep from being 1: the id found always has a probability above 0.
    below = cumulative < uniforms[:, None] * cumulative[:, -1:]
    drawn = tf.reduce_sum(tf.cast(below, tf.int32), axis=-1)
    return tf.where(temperature > 0, drawn, tf.argmax(logits, axis=-1, output_type=tf.int32))
