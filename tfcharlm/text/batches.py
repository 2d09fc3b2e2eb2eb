"""What the data sets of windows and of lines share: ids in memory or on disk, random orders, epochs."""

import dataclasses
import hashlib
import mmap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfcharlm.checks import POSITIVE_INTEGER

# Number of ids that are hashed at a time.
CHUNK = 1 << 22
# Number of batches that are made ahead of time.
PREFETCH = 2


@dataclasses.dataclass(frozen=True)
class Source:
    """How a data set of this package was made. It is the attribute `source`, and lets a run resume in the middle.

    Args:
        starting_at: maps the number of a batch to the data set that starts with this batch. The earlier batches are
            not computed.
        description: a function without arguments. It returns the numbers that describe the data set and the SHA-256
            of its ids.
    """

    starting_at: Callable[[int], tf.data.Dataset]
    description: Callable[[], dict[str, Any]]


def make_dataset(
    epochs: int | None,
    steps: int,
    plan: Callable[..., Any],
    batch: Callable[[Any, tf.Tensor], Any],
    description: Callable[[], dict[str, Any]],
    steps_per_plan: int | None = None,
) -> tf.data.Dataset:
    """A data set of `steps` batches per epoch. Every batch is a function of the epoch and the step.

    Args:
        epochs: the number of epochs, or None for an endless data set.
        steps: the number of batches per epoch.
        plan: maps an epoch, int64 (), to the tensors that its batches share.
        batch: maps these tensors and the step, int64 (), to an element.
        description: of its `Source`.
        steps_per_plan: if it is given, an epoch has a plan for every so many steps. `plan` then maps an epoch and the
            number of the plan in it, and `batch` gets the step within the plan. None (default) for one plan.
    """
    if epochs is not None:
        epochs = POSITIVE_INTEGER.check("epochs", epochs, ", or None for no end")

    size_of_plan = steps if steps_per_plan is None else steps_per_plan
    plans = -(-steps // size_of_plan)

    def starting_at(first):
        first_epoch, first_step = divmod(first, steps)
        first_plan = first_epoch * plans + first_step // size_of_plan

        def one_plan(number):
            epoch, index = number // plans, number % plans
            shared = plan(epoch) if steps_per_plan is None else plan(epoch, index)
            begin = tf.where(number == first_plan, tf.constant(first_step % size_of_plan, tf.int64), 0)
            end = tf.minimum(tf.constant(size_of_plan, tf.int64), steps - index * size_of_plan)
            return tf.data.Dataset.range(begin, end).map(lambda step: batch(shared, step))

        if epochs is None:
            counter, size = tf.data.Dataset.counter(first_plan), tf.data.INFINITE_CARDINALITY
        else:
            counter, size = tf.data.Dataset.range(first_plan, epochs * plans), max(0, epochs * steps - first)
        dataset = counter.flat_map(one_plan).apply(tf.data.experimental.assert_cardinality(size))
        dataset = dataset.prefetch(PREFETCH).with_options(_untuned())
        dataset.source = Source(starting_at, lambda: {"epochs": epochs, **description()})
        return dataset

    return starting_at(0)


def _untuned():
    """Options without autotuning: there is nothing to tune, and its thread can delay an iterator's end by a minute."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def sha256_of(arrays: Iterable[np.ndarray]) -> str:
    """The SHA-256 of several integer arrays, in hexadecimal. A mapped file is read once from start to end.

    Example:

    >>> import numpy as np
    >>> from tfcharlm.text import sha256_of
    >>> sha256_of([np.arange(3, dtype=np.int64)])[:8], sha256_of([np.arange(4, dtype=np.int64)])[:8]
    ('afdce063', '2c22d427')
    """
    digest = hashlib.sha256()
    for array in arrays:
        for begin in range(0, len(array), CHUNK):
            part = np.ascontiguousarray(array[begin : begin + CHUNK])
            digest.update(part.astype(part.dtype.newbyteorder("<"), copy=False).data)
            release_pages(array)
        digest.update(f" {len(array)} {array.dtype.name}\n".encode())
    return digest.hexdigest()


def permutation(size: int, seed: int | None, epoch: tf.Tensor, stream: int = 0) -> tf.Tensor:
    """A permutation, int64 (size,), drawn from (seed, epoch, stream). It is the identity without a seed."""
    if seed is None:
        return tf.range(size, dtype=tf.int64)
    # The algorithm is named because the default may differ between devices.
    key = tf.random.fold_in(tf.stack([tf.constant(seed, tf.int64), epoch]), stream, alg="philox")
    draws = tf.random.stateless_uniform((size,), key, None, None, tf.int64, alg="philox")
    return tf.cast(tf.argsort(draws, stable=True), tf.int64)


def id_gatherer(arrays: Sequence[np.ndarray]) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function from positions, int64 (B, L), in the joined arrays to the ids at these positions, int32 (B, L).

    Arrays on disk are read in place, and the pages read do not stay in memory. All positions of a row must then lie in
    one array.
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


def release_pages(array: np.ndarray | None) -> None:
    """Releases the pages of a mapped file. Otherwise they count as memory of the process until others need it."""
    while isinstance(array, np.ndarray):
        # Not the pages of a copy-on-write mapping: data written to them exists nowhere else.
        mode, array = getattr(array, "mode", None), array.base
        if isinstance(array, mmap.mmap) and mode == "r" and hasattr(array, "madvise"):
            array.madvise(mmap.MADV_DONTNEED)


def checked_ids(ids: Any) -> np.ndarray:
    """The ids as an array (length,): int32, or a mapped file as it is."""
    array = ids if isinstance(ids, np.memmap) else np.asarray(ids)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"ids must be integers (length,); received {type(ids).__name__} of {array.dtype} "
            f"{array.shape}. Type vocabulary.encode(text)."
        )
    if len(array) < 2:
        raise ValueError(f"ids must be 2 tokens or more, one to read and one to predict; received {len(array)}.")
    if isinstance(array, np.memmap):
        return array
    if array.max() >= 2**31 or array.min() < 0:
        raise ValueError(f"ids must be from 0 to {2**31 - 1}; received {array.min()} to {array.max()}.")
    return array.astype(np.int32, copy=False)
