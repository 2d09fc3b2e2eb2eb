"""The rows of a batch as independent chains, one a core.

A step of a small network is over before its threads have met. Chains never meet: each core runs the loop of its own
rows. Nothing changes but the order in which the chains' parts of a gradient are added.
"""

import contextvars
import os

import tensorflow as tf

# With two cores even chains of one row are no slower than one chain of two; with many cores, chains as short would
# read the matrix more often than they use it.
ROWS_PER_CHAIN = 4
CHAINS_OF_UNKNOWN_BATCH = 4

_inside = contextvars.ContextVar("inside a chain", default=False)


def configure_threads(cores=None):
    """One thread in an operation, one operation a core: the settings under which chains run fastest.

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
    if cores is not None and (isinstance(cores, bool) or not isinstance(cores, int) or cores < 1):
        raise ValueError(f"cores must be a whole number from 1 up, or None for all; received {cores!r}.")
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(cores or available_cores())
    except RuntimeError:
        raise RuntimeError(
            "TensorFlow has already started its threads. Type tfcharlm.configure_threads() right after the imports."
        ) from None


def chain_count(rows):
    """How many chains a batch of so many rows (None: not known yet) is worth."""
    if tf.executing_eagerly():
        return 1
    cores = tf.config.threading.get_inter_op_parallelism_threads() or available_cores()
    if rows is None:
        # The graph has them all, be there ever so few rows in the end.
        return min(cores, CHAINS_OF_UNKNOWN_BATCH)
    return max(1, min(cores, rows // ROWS_PER_CHAIN))


def in_chains(function, *batches):
    """`function(*batches)`, with the rows of the batches in chains. Inside a chain there are no further ones.

    Args:
        function: from tensors or structures of tensors whose first axis is the batch (or None) to the same; no row may
            depend on another one.
        *batches: its arguments.

    Returns:
        What `function` returns for all rows.

    Example:

    >>> in_chains(lambda rows, offsets: rows + offsets[:, None], tf.ones((3, 2)), tf.constant([0.0, 1.0, 2.0])).numpy()
    array([[1., 1.],
           [2., 2.],
           [3., 3.]], dtype=float32)
    """
    rows = tf.nest.flatten(batches)[0].shape[0]
    count = 1 if _inside.get() else chain_count(rows)
    if count == 1:
        return function(*batches)
    if rows is None:
        rows = tf.shape(tf.nest.flatten(batches)[0])[0]
    sizes = [rows * (k + 1) // count - rows * k // count for k in range(count)]
    # The gradient of a split is one concatenation; that of a slice would be a batch of zeros for every chain.
    pieces = [[None] * count if t is None else tf.split(t, sizes) for t in tf.nest.flatten(batches)]
    token = _inside.set(True)
    try:
        results = [function(*tf.nest.pack_sequence_as(batches, own)) for own in zip(*pieces, strict=True)]
    finally:
        _inside.reset(token)
    return tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), *results)


def available_cores():
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
