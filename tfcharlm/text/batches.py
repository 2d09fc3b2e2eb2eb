"""What data sets of windows and of lines share: ids in memory or on a disk, orders drawn from a seed, passes."""

import dataclasses
import hashlib
import mmap
import operator
from collections.abc import Callable

import numpy as np
import tensorflow as tf

# Ids that are hashed at a time.
PART = 1 << 22
# Batches that are made ahead.
AHEAD = 2


@dataclasses.dataclass(frozen=True)
class Source:
    """What a data set of this package was made of, in its attribute `source`, so that a run can go on in the middle.

    Args:
        starting_at: from the number of a batch to the data set from that batch on; the ones before are not made.
        description: a function without arguments; the numbers that describe the data set, and the SHA-256 of its ids.
    """

    starting_at: Callable
    description: Callable


def passes_of(passes, steps, plan, batch, description):
    """A data set of `steps` batches a pass, each a function of the pass and the step.

    Args:
        passes: how many, or None for no end.
        steps: of one pass.
        plan: from a pass, int64 (), to the tensors that its batches share.
        batch: from those and the step, int64 (), to an element.
        description: of its `Source`.
    """
    if passes is not None:
        passes = checked_integer("passes", passes, 1)

    def starting_at(first):
        first_pass, first_step = divmod(first, steps)

        def one_pass(pass_):
            shared = plan(pass_)
            begin = tf.where(pass_ == first_pass, tf.constant(first_step, tf.int64), 0)
            return tf.data.Dataset.range(begin, steps).map(lambda step: batch(shared, step))

        if passes is None:
            counter, size = tf.data.Dataset.counter(first_pass), tf.data.INFINITE_CARDINALITY
        else:
            counter, size = tf.data.Dataset.range(first_pass, passes), max(0, passes * steps - first)
        dataset = counter.flat_map(one_pass).apply(tf.data.experimental.assert_cardinality(size))
        dataset = dataset.prefetch(AHEAD).with_options(_untuned())
        dataset.source = Source(starting_at, lambda: {"passes": passes, **description()})
        return dataset

    return starting_at(0)


def _untuned():
    """There is nothing to tune, and the thread that would do it can keep the end of an iterator waiting a minute."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def sha256_of(arrays):
    """The SHA-256 of integer arrays one after another, in hexadecimal; a mapped file is read once through."""
    digest = hashlib.sha256()
    for array in arrays:
        for begin in range(0, len(array), PART):
            part = np.ascontiguousarray(array[begin : begin + PART])
            digest.update(part.astype(part.dtype.newbyteorder("<"), copy=False))
            _forget(array)
        digest.update(f" {len(array)} {array.dtype.name}\n".encode())
    return digest.hexdigest()


def order_of(size, seed, pass_, stream=0):
    """A permutation of `size` things, int64 (size,), drawn from (seed, pass, stream); the identity without a seed."""
    if seed is None:
        return tf.range(size, dtype=tf.int64)
    # One named algorithm: the default one may differ between devices.
    key = tf.random.fold_in(tf.stack([tf.constant(seed, tf.int64), pass_]), stream, alg="philox")
    draws = tf.random.stateless_uniform((size,), key, None, None, tf.int64, alg="philox")
    return tf.cast(tf.argsort(draws, stable=True), tf.int64)


def reader(arrays):
    """A function from places (B, L), int64, in the arrays joined, to the ids there, int32 (B, L).

    Arrays on a disk are read in place, and what was read of them does not stay in memory; then the places of a row must
    lie in one array.
    """
    if not any(isinstance(array, np.memmap) for array in arrays):
        joined = tf.constant(np.concatenate(arrays) if len(arrays) > 1 else arrays[0], tf.int32)
        return lambda places: tf.gather(joined, places)
    ends = np.cumsum([len(array) for array in arrays])

    def read(places):
        ids = np.empty(places.shape, np.int32)
        for row, array in enumerate(np.searchsorted(ends, places[:, 0], side="right")):
            begin = ends[array] - len(arrays[array])
            ids[row] = arrays[array][places[row] - begin]
            _forget(arrays[array])
        return ids

    def read_in_graph(places):
        ids = tf.numpy_function(read, [places], tf.int32, stateful=False)
        return tf.ensure_shape(ids, places.shape)

    return read_in_graph


def _forget(array):
    """Gives the pages of a mapped file back, which would count as memory of the process until others need it."""
    while isinstance(array, np.ndarray):
        # Not those of a copy-on-write mapping: what was written there is nowhere else.
        mode, array = getattr(array, "mode", None), array.base
        if isinstance(array, mmap.mmap) and mode == "r" and hasattr(array, "madvise"):
            array.madvise(mmap.MADV_DONTNEED)


def checked_ids(ids):
    """Ids as an array (length,): int32, or a mapped file as it is."""
    array = ids if isinstance(ids, np.memmap) else np.asarray(ids)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"ids must be integers (length,); got {type(ids).__name__} of {array.dtype} "
            f"{array.shape}; type vocabulary.encode(text)"
        )
    if len(array) < 2:
        raise ValueError(f"ids must be 2 tokens or more, one to predict from; got {len(array)}")
    if isinstance(array, np.memmap):
        return array
    if array.max() >= 2**31 or array.min() < 0:
        raise ValueError(f"ids must be from 0 to {2**31 - 1}; got {array.min()} to {array.max()}")
    return array.astype(np.int32, copy=False)


def checked_integer(name, value, least):
    """An integer in [least, 2^63), or a line that says what was expected."""
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = -1
    if not least <= number < 2**63:
        raise ValueError(f"{name} must be an integer from {least} on; got {value!r}")
    return number
