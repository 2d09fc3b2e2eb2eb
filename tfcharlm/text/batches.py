"""What data sets of windows and of lines share: ids in memory or on disk, orders drawn from a seed, epochs."""

import dataclasses
import hashlib
import mmap
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfcharlm.checks import POSITIVE_INTEGER

# Ids that are hashed at a time.
CHUNK = 1 << 22
# Batches that are made ahead.
PREFETCH = 2


@dataclasses.dataclass(frozen=True)
class Source:
    """What a data set of this package was made of, in its attribute `source`, so that a run can go on in the middle.

    Args:
        starting_at: from the number of a batch to the data set from that batch on; the ones before are not made.
        description: a function without arguments; the numbers that describe the data set, and the SHA-256 of its ids.
    """

    starting_at: Callable
    description: Callable


def make_dataset(epochs, steps, plan, batch, description):
    """A data set of `steps` batches per epoch, each a function of the epoch and the step.

    Args:
        epochs: how many, or None for no end.
        steps: batches of one epoch.
        plan: from an epoch, int64 (), to the tensors that its batches share.
        batch: from those and the step, int64 (), to an element.
        description: of its `Source`.
    """
    if epochs is not None:
        epochs = POSITIVE_INTEGER.check("epochs", epochs, ", or None for no end")

    def starting_at(first):
        first_epoch, first_step = divmod(first, steps)

        def one_epoch(epoch):
            shared = plan(epoch)
            begin = tf.where(epoch == first_epoch, tf.constant(first_step, tf.int64), 0)
            return tf.data.Dataset.range(begin, steps).map(lambda step: batch(shared, step))

        if epochs is None:
            counter, size = tf.data.Dataset.counter(first_epoch), tf.data.INFINITE_CARDINALITY
        else:
            counter, size = tf.data.Dataset.range(first_epoch, epochs), max(0, epochs * steps - first)
        dataset = counter.flat_map(one_epoch).apply(tf.data.experimental.assert_cardinality(size))
        dataset = dataset.prefetch(PREFETCH).with_options(_untuned())
        dataset.source = Source(starting_at, lambda: {"epochs": epochs, **description()})
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
        for begin in range(0, len(array), CHUNK):
            part = np.ascontiguousarray(array[begin : begin + CHUNK])
            digest.update(part.astype(part.dtype.newbyteorder("<"), copy=False))
            release_pages(array)
        digest.update(f" {len(array)} {array.dtype.name}\n".encode())
    return digest.hexdigest()


def permutation(size, seed, epoch, stream=0):
    """A permutation of `size` things, int64 (size,), drawn from (seed, epoch, stream); the identity without a seed."""
    if seed is None:
        return tf.range(size, dtype=tf.int64)
    # One named algorithm: the default one may differ between devices.
    key = tf.random.fold_in(tf.stack([tf.constant(seed, tf.int64), epoch]), stream, alg="philox")
    draws = tf.random.stateless_uniform((size,), key, None, None, tf.int64, alg="philox")
    return tf.cast(tf.argsort(draws, stable=True), tf.int64)


def id_gatherer(arrays):
    """A function from positions (B, L), int64, in the joined arrays to the ids there, int32 (B, L).

    Arrays on disk are read in place, and what was read does not stay in memory. The positions of a row must then lie
    in one array.
    """
    if not any(isinstance(array, np.memmap) for array in arrays):
        joined = tf.constant(np.concatenate(arrays) if len(arrays) > 1 else arrays[0], tf.int32)
        return lambda positions: tf.gather(joined, positions)
    ends = np.cumsum([len(array) for array in arrays])

    def read(positions):
        ids = np.empty(positions.shape, np.int32)
        for row, array in enumerate(np.searchsorted(ends, positions[:, 0], side="right")):
            begin = ends[array] - len(arrays[array])
            ids[row] = arrays[array][positions[row] - begin]
            release_pages(arrays[array])
        return ids

    def read_in_graph(positions):
        ids = tf.numpy_function(read, [positions], tf.int32, stateful=False)
        return tf.ensure_shape(ids, positions.shape)

    return read_in_graph


def release_pages(array):
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
            f"ids must be integers (length,); received {type(ids).__name__} of {array.dtype} "
            f"{array.shape}. Type vocabulary.encode(text)."
        )
    if len(array) < 2:
        raise ValueError(f"ids must be 2 tokens or more, one to predict from; received {len(array)}.")
    if isinstance(array, np.memmap):
        return array
    if array.max() >= 2**31 or array.min() < 0:
        raise ValueError(f"ids must be from 0 to {2**31 - 1}; received {array.min()} to {array.max()}.")
    return array.astype(np.int32, copy=False)
