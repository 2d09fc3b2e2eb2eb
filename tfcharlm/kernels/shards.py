"""A batch split into shards of rows, which the CPU cores process independently.

A step of a small network takes less time than its threads need to synchronize. Shards never synchronize: each core
runs the loop over its own rows. The results differ only in the order in which the parts of a gradient are added.
"""

import contextlib
import contextvars
import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tfcharlm.checks import POSITIVE_INTEGER
from tfcharlm.kernels.cpu_limit import cpu_limit

# On two cores, even two shards of one row are not slower than one shard of two rows. On many cores, shards that small
# would spend more time reading the weight matrix than multiplying with it.
ROWS_PER_SHARD = 4
SHARDS_OF_UNKNOWN_BATCH = 4

# Two cores are what nearly every machine has.
SHARDS_OF_EVERY_MACHINE = 2

_same = contextvars.ContextVar("the same shards on every machine", default=False)
_inside = contextvars.ContextVar("inside a shard", default=False)


def configure_threads(cores: int | None = None) -> None:
    """Sets TensorFlow to one thread per operation and one operation per core, the fastest setting for shards.

    Call it right after the imports, before TensorFlow runs its first operation; `tfcharlm train` does so. Without it,
    TensorFlow uses all cores in every operation. Results are then just as correct, and training is a little slower.

    Args:
        cores: how many cores to use, an integer from 1 up. None (default) uses all that this process may run on.

    Raises:
        ValueError: `cores` is not such an integer.
        RuntimeError: TensorFlow has already run an operation with another thread setting.

    Example:

    >>> import tfcharlm
    >>> tfcharlm.configure_threads()                                            # doctest: +SKIP
    """
    if cores is not None:
        cores = POSITIVE_INTEGER.check("cores", cores, ", or None for all")
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(cores or available_cores())
    except RuntimeError:
        raise RuntimeError(
            "TensorFlow has already started its threads. Type tfcharlm.configure_threads() right after the imports."
        ) from None


@contextlib.contextmanager
def same_shards() -> Iterator[None]:
    """For graphs that are saved: inside, the number of shards does not depend on the cores of this machine.

    There are no native kernels inside, and no cuDNN.

    Example:

    >>> from tfcharlm.kernels import same_shards
    >>> with same_shards():
    ...     pass
    """
    token = _same.set(True)
    try:
        yield
    finally:
        _same.reset(token)


def is_for_every_machine() -> bool:
    """Whether this is inside `same_shards`.

    Example:

    >>> from tfcharlm.kernels import same_shards
    >>> from tfcharlm.kernels.shards import is_for_every_machine
    >>> with same_shards():
    ...     is_for_every_machine()
    True
    """
    return _same.get()


def shard_count(rows: int | None) -> int:
    """The number of shards for a batch of `rows` rows; None means that the number of rows is not known yet."""
    if tf.executing_eagerly():
        return 1
    if _same.get():
        return SHARDS_OF_EVERY_MACHINE
    cores = tf.config.threading.get_inter_op_parallelism_threads() or available_cores()
    if rows is None:
        # The graph always has this many shards, even if the batch turns out to have only a few rows.
        return min(cores, SHARDS_OF_UNKNOWN_BATCH)
    return max(1, min(cores, rows // ROWS_PER_SHARD))


def map_shards(function: Callable, *batches: Any) -> Any:
    """Computes `function(*batches)` in shards of the rows. A shard is not split again.

    Args:
        function: maps tensors, or structures of tensors, to the same. The first axis of every tensor is the batch. The
            result of a row must not depend on any other row.
        *batches: the arguments of `function`: tensors, None, or structures of both.

    Returns:
        What `function` returns for all rows.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.kernels import map_shards
    >>> map_shards(lambda rows, offsets: rows + offsets[:, None], tf.ones((3, 2)), tf.constant([0.0, 1.0, 2.0])).numpy()
    array([[1., 1.],
           [2., 2.],
           [3., 3.]], dtype=float32)
    """
    rows = tf.nest.flatten(batches)[0].shape[0]
    count = 1 if _inside.get() else shard_count(rows)
    if count == 1:
        return function(*batches)
    if rows is None:
        rows = tf.shape(tf.nest.flatten(batches)[0])[0]
    sizes = [rows * (k + 1) // count - rows * k // count for k in range(count)]
    # The gradient of a split is one concatenation. The gradient of a slice would be a whole batch of zeros per shard.
    pieces = [[None] * count if t is None else tf.split(t, sizes) for t in tf.nest.flatten(batches)]
    token = _inside.set(True)
    try:
        results = [function(*tf.nest.pack_sequence_as(batches, shard)) for shard in zip(*pieces, strict=True)]
    finally:
        _inside.reset(token)
    return tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), *results)


def available_cores() -> int:
    """The number of CPU cores that this process may use: those it may run on, or fewer if a container has a limit.

    Example:

    >>> from tfcharlm.kernels import available_cores
    >>> available_cores() >= 1
    True
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = cpu_limit()
    return cores if limit >= cores else math.ceil(limit)
