"""Whether this process is a fork of one that had used TensorFlow, in which every graph would wait forever."""

import os

import tensorflow as tf

_forked_after_use = False


def check_not_forked() -> None:
    """Raises a RuntimeError in a process that was forked after TensorFlow was used.

    A fork copies no threads, and TensorFlow starts its own at its first operation. A graph would wait for them. A
    process may be forked after the imports, and then use TensorFlow like any other.

    Example:

    >>> from tfcharlm.generation import check_not_forked
    >>> check_not_forked()                     # Python has started this process
    """
    if _forked_after_use:
        raise RuntimeError(
            "this process was forked after TensorFlow was used, and TensorFlow's threads do not survive a fork. Type "
            "multiprocessing.get_context('spawn') to start processes, or fork before the first model is made or loaded."
        )


def _is_used() -> bool:
    """Whether TensorFlow has started its threads, after which it refuses another number of them."""
    number = tf.config.threading.get_inter_op_parallelism_threads()
    try:
        tf.config.threading.set_inter_op_parallelism_threads(number + 1)
    except RuntimeError:
        return True
    tf.config.threading.set_inter_op_parallelism_threads(number)
    return False


def _remember() -> None:
    global _forked_after_use
    _forked_after_use = _forked_after_use or _is_used()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_remember)
