"""`tf.custom_gradient` without its memory leak.

In a graph, TensorFlow registers every custom gradient for the life of the process. A process that builds one model
after another would keep all of their graphs.
"""

import weakref
from collections.abc import Callable

import tensorflow as tf


def custom_gradient(function: Callable[..., tuple[list, Callable]], *tensors: tf.Tensor) -> list[tf.Tensor]:
    """Calls a function that brings its own gradient, as `tf.custom_gradient` does.

    The graph itself holds the gradient. What TensorFlow registers has only a weak reference to the graph, so the
    gradient is freed together with the graph.

    Args:
        function: maps tensors to `(list of results, gradient)`. `gradient(*d_results)` returns one gradient per tensor.
        *tensors: what to differentiate by.

    Returns:
        The list of results.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.kernels.gradients import custom_gradient
    >>> x = tf.constant(3.0)
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(x)
    ...     (y,) = custom_gradient(lambda x: ([x * x], lambda d_y: 2 * x * d_y), x)
    >>> float(tape.gradient(y, x))
    6.0
    """
    if tf.executing_eagerly():
        return tf.custom_gradient(function)(*tensors)
    graph, key, functions = weakref.ref(tf.compat.v1.get_default_graph()), object(), [function]
    # A comment and not an annotation: AutoGraph cannot transform a closure over an annotated local.
    results = []  # type: list

    def weakly_registered(*tensors):
        results[:], gradient = functions.pop()(*tensors)
        graph().add_to_collection(key, gradient)
        return results, lambda *d_results: graph().get_collection(key)[0](*d_results)

    returned = tf.custom_gradient(weakly_registered)(*tensors)
    # TensorFlow keeps this list, but only uses its length: without the tensors, it does not keep the graph alive.
    results[:] = [0.0] * len(results)
    return returned
