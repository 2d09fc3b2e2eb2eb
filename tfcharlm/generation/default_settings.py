"""Graphs for other machines are made with TensorFlow's default settings, whatever the caller has set."""

import concurrent.futures
import contextlib
import threading
from collections.abc import Callable
from typing import Any

import tensorflow as tf

_lock, _callers, _eagerly = threading.Lock(), 0, False


def with_default_settings(function: Callable[[], Any]) -> Any:
    """What a function returns. The graphs that it makes are those that it makes in a new process.

    Debugger, device, strategy, names and default graph belong to a thread, so the function runs in another one.
    `tf.config.run_functions_eagerly(True)` is off meanwhile. TensorFlow writes `tf.config.optimizer.set_jit` into every
    graph; it cannot be left out.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.generation import is_debugging, with_default_settings
    >>> tf.debugging.enable_check_numerics()
    >>> is_debugging(), with_default_settings(is_debugging)
    (True, False)
    >>> tf.debugging.disable_check_numerics()
    """
    with _compiled_functions(), concurrent.futures.ThreadPoolExecutor(1) as other_thread:
        return other_thread.submit(function).result()


@contextlib.contextmanager
def _compiled_functions():
    """The setting is one for all threads, so the first one turns it off, and the last one on again."""
    global _callers, _eagerly
    with _lock:
        if not _callers:
            _eagerly = tf.config.functions_run_eagerly()
        _callers += 1
        if _eagerly:
            tf.config.run_functions_eagerly(False)
    try:
        yield
    finally:
        with _lock:
            _callers -= 1
            if _eagerly and not _callers:
                tf.config.run_functions_eagerly(True)
