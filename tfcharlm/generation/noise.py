"""Noise that is a function of (seed, position), instead of a generator with a state.

It is the block cipher Threefry-2x32 of Salmon et al. (2011), with the seed as the key and the position as the counter.
So the noise of a row does not depend on the other rows, nor on the number of tokens to write, and it is the same on
every machine.
"""

import tensorflow as tf

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


Words = tuple[tf.Tensor, tf.Tensor]


def threefry(key: Words, counter: Words) -> Words:
    """Threefry-2x32 with 20 rounds: turns two uint32 words of key and two of counter into two words of noise.

    Args:
        key: a pair of uint32 tensors.
        counter: a pair of uint32 tensors that broadcast against the key.

    Returns:
        A pair of uint32 tensors.

    Example (the first known answer of the authors' library, Random123):

    >>> import tensorflow as tf
    >>> from tfcharlm.generation.noise import threefry
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


def uniform(seeds: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """Uniform numbers in the open interval (0, 1), one for every seed and every position.

    Args:
        seeds: int64 (B,).
        positions: int32 (L,).

    Returns:
        float32 (B, L): odd multiples of 2^-24, so that 0 and 1 do not occur and nothing is rounded.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.generation.noise import uniform
    >>> uniform(tf.constant([7], tf.int64), tf.range(2)) == uniform(tf.constant([7], tf.int64), tf.range(9))[:, :2]
    <tf.Tensor: shape=(1, 2), dtype=bool, numpy=array([[ True,  True]])>
    """
    words = _words(tf.cast(seeds, tf.uint64)[:, None])
    positions = tf.cast(positions, tf.uint32)[None]
    noise, _ = threefry(words, (positions, tf.zeros_like(positions)))
    return _fractions(noise)


def uniform_at(seeds: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """The same numbers as `uniform`, at positions of its own for each seed.

    Args:
        seeds: int64 (B,).
        positions: int32 (B, L).

    Returns:
        float32 (B, L).

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.generation.noise import uniform, uniform_at
    >>> seeds = tf.constant([7, 8], tf.int64)
    >>> noise, other = uniform(seeds, tf.range(9)), uniform_at(seeds, tf.constant([[0, 1], [7, 8]]))
    >>> bool(tf.reduce_all(other[0] == noise[0, :2]) & tf.reduce_all(other[1] == noise[1, 7:]))
    True
    """
    positions = tf.cast(positions, tf.uint32)
    noise, _ = threefry(_words(tf.cast(seeds, tf.uint64)[:, None]), (positions, tf.zeros_like(positions)))
    return _fractions(noise)


def _words(seeds):
    """The low and the high half of 64 bits."""
    low = tf.cast(seeds & tf.constant(0xFFFFFFFF, tf.uint64), tf.uint32)
    return low, tf.cast(tf.bitwise.right_shift(seeds, tf.constant(32, tf.uint64)), tf.uint32)


def _fractions(noise):
    # Not every device can cast uint32 to float32. 23 bits fit into an int32.
    numerators = 2 * tf.cast(tf.bitwise.right_shift(noise, tf.constant(9, tf.uint32)), tf.int32) + 1
    return tf.cast(numerators, tf.float32) * 2.0**-24
