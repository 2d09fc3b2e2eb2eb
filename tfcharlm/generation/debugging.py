"""TensorFlow's debugger, such as `tf.debugging.enable_check_numerics()`, adds operations to every graph of a thread."""

import concurrent.futures
from collections.abc import Callable
from typing import Any

import tensorflow as tf


def is_debugging() -> bool:
    """Whether the debugger is on in this thread.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.generation import is_debugging
    >>> is_debugging()
    False
    >>> tf.debugging.enable_check_numerics()
    >>> is_debugging()
    True
    >>> tf.debugging.disable_check_numerics()
    """
    with tf.init_scope():
        probe = tf.function(lambda x: x + 1, autograph=False).get_concrete_function(tf.TensorSpec([]))
    return any(operation.type.startswith("Debug") for operation in probe.graph.get_operations())


def without_debugger(function: Callable[[], Any]) -> Any:
    """What a function returns. The graphs that it makes are those that it would make with the debugger off.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.generation import is_debugging, without_debugger
    >>> tf.debugging.enable_check_numerics()
    >>> is_debugging(), without_debugger(is_debugging)
    (True, False)
    >>> tf.debugging.disable_check_numerics()
    """
    if not is_debugging():
        return function()
    with concurrent.futures.ThreadPoolExecutor(1) as other_thread:
        return other_thread.submit(function).result()
