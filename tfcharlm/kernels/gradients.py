"""`tf.custom_gradient` without what it leaves behind: in a graph it registers every gradient for ever, and a process
that builds one model after another would keep all of their graphs."""

import weakref

import tensorflow as tf


def custom_gradient(function, *tensors):
    """Calls `function(*tensors)`, which returns a list of results and their gradient, as for `tf.custom_gradient`.

    What is registered finds the gradient through a weak reference to the graph, where it lies until the graph is gone.

    Args:
        function: from tensors to `(list of tensors, gradient)`; `gradient(*d_results)` returns those of the tensors.
        *tensors: what to differentiate by.

    Returns:
        The results.

    Example:

    >>> x = tf.constant(3.0)
    >>> with tf.GradientTape() as tape:
    ...     tape.watch(x)
    ...     (y,) = custom_gradient(lambda x: ([x * x], lambda d_y: 2 * x * d_y), x)
    >>> float(tape.gradient(y, x))
    6.0
    """
    if tf.executing_eagerly():
        return tf.custom_gradient(function)(*tensors)
    graph, key, functions, results = weakref.ref(tf.compat.v1.get_default_graph()), object(), [function], []

    def weakly_registered(*tensors):
        results[:], gradient = functions.pop()(*tensors)
        graph().add_to_collection(key, gradient)
        return results, lambda *d_results: graph().get_collection(key)[0](*d_results)

    returned = tf.custom_gradient(weakly_registered)(*tensors)
    # TensorFlow holds on to this list for its length alone.
    results[:] = [0.0] * len(results)
    return returned
