"""TensorFlow's debugger, such as `tf.debugging.enable_check_numerics()`, adds operations to every graph of a thread."""

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
