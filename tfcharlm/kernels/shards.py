"""A batch split into shards of rows, which run on the CPU cores independently.

A step of a small network takes less time than its threads need to synchronize. Shards never synchronize: each core
runs the loop over its own rows. Only the order in which the parts of a gradient are added changes.
"""

import contextvars
import os

import tensorflow as tf

from tfcharlm.checks import POSITIVE_INTEGER

# With two cores even shards of one row are no slower than one shard of two; with many cores, shards that small would
# read the matrix more often than they use it.
ROWS_PER_SHARD = 4
SHARDS_OF_UNKNOWN_BATCH = 4

_inside = contextvars.ContextVar("inside a shard", default=False)


def configure_threads(cores=None):
    """Sets TensorFlow to one thread per operation and one operation per core, under which shards run fastest.

    TensorFlow's own, all cores in every operation, stay correct and are a little slower. To be called before
    TensorFlow's first operation; `tfcharlm train` does.

    Args:
        cores: how many to use, an integer from 1 up; None takes all that this process may run on.

    Raises:
        ValueError: cores is no such integer.
        RuntimeError: TensorFlow has run an operation already, and its threads are others.

    Example:

    >>> configure_threads()                                                     # doctest: +SKIP
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


def shard_count(rows):
    """How many shards a batch of so many rows (None: not known yet) is split into."""
    if tf.executing_eagerly():
        return 1
    cores = tf.config.threading.get_inter_op_parallelism_threads() or available_cores()
    if rows is None:
        # The graph has them all, be there ever so few rows in the end.
        return min(cores, SHARDS_OF_UNKNOWN_BATCH)
    return max(1, min(cores, rows // ROWS_PER_SHARD))


def map_shards(function, *batches):
    """`function(*batches)`, with the rows of the batches in shards. Inside a shard nothing is split again.

    Args:
        function: from tensors or structures of tensors whose first axis is the batch (or None) to the same; no row may
            depend on another one.
        *batches: its arguments.

    Returns:
        What `function` returns for all rows.

    Example:

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
    # The gradient of a split is one concatenation; that of a slice would be a batch of zeros for every shard.
    pieces = [[None] * count if t is None else tf.split(t, sizes) for t in tf.nest.flatten(batches)]
    token = _inside.set(True)
    try:
        results = [function(*tf.nest.pack_sequence_as(batches, shard)) for shard in zip(*pieces, strict=True)]
    finally:
        _inside.reset(token)
    return tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), *results)


def available_cores():
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
