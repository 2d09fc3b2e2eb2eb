"""Functions of a graph that many threads may call first, and that one of them compiles."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfcharlm.generation.loop import fewest_rows


class CompiledOnce:
    """A TensorFlow function with a signature that one thread compiles while the others wait.

    TensorFlow traces a function once, but until its first call has ended, every thread that calls it optimizes the
    graph again. Sixteen threads then take sixteen times as long as one. Here the thread that comes first compiles the
    function by a call with the smallest arguments, and only that call is made under a lock.

    Args:
        function: a function of tensors.
        signature: the specs of its arguments, one of which may be a tuple of specs. The open first axis of every
            argument is the batch.
        text: a text that the function accepts where its signature has a string.
        in_graphs: whether it may be called inside a `tf.function`. False by default: who needs Python values would get
            symbols.

    Example:

    >>> import tensorflow as tf
    >>> from tfcharlm.generation.compiled_once import CompiledOnce
    >>> double = CompiledOnce(lambda x: 2 * x, [tf.TensorSpec([None], tf.float32)])
    >>> double(tf.constant([1.5, 2.0])).numpy()
    array([3., 4.], dtype=float32)
    """

    def __init__(self, function: Callable, signature: Sequence[Any], text: str = "", in_graphs: bool = False) -> None:
        self._function = tf.function(function, input_signature=signature, autograph=False)
        self._signature, self._text, self._in_graphs = tuple(signature), text, in_graphs
        # The thread that compiles may call the function again, from the code of a cell.
        self._lock = threading.RLock()
        self._compiled: dict[int, Callable] = {}

    def __call__(self, *arguments: Any) -> Any:
        if not tf.executing_eagerly():
            return self._in_graph(*arguments)
        if len(arguments) != len(self._signature):
            expected = ", ".join(str(spec) for spec in self._signature)
            raise TypeError(
                f"the function takes {len(self._signature)} arguments: {expected}; received {len(arguments)}."
            )
        arguments = tuple(map(self._converted, self._signature, arguments))
        # For other rows, XLA compiles other tiles.
        rows = fewest_rows(arguments[0].shape[0]) if arguments[0].shape.rank else 1
        return self._compiled_for(rows)(*arguments)

    def warm_up(self, rows: int) -> None:
        """Compiles the function for batches of up to so many rows, unless it is compiled."""
        for batch in dict.fromkeys(map(fewest_rows, (1, min(rows, 9), rows))):
            self._compiled_for(batch)

    def _compiled_for(self, rows):
        if rows not in self._compiled:
            with self._lock:
                if rows not in self._compiled:
                    self._compiled[rows] = self._compile(rows)
        return self._compiled[rows]

    @property
    def number_of_traces(self) -> int:
        """How many times TensorFlow has traced the function: once, whatever sizes it was called with."""
        return self._function.experimental_get_tracing_count()

    def get_concrete_function(self) -> Any:
        """The function as `tf.saved_model.save` takes it."""
        return self._function.get_concrete_function()

    def _compile(self, rows):
        # A tf.function keeps its lock for ever if an argument does not fit. Its concrete function has no lock.
        function = self.get_concrete_function()
        function(*(tf.nest.map_structure(lambda spec: self._smallest(spec, rows), spec) for spec in self._signature))
        return function

    def _converted(self, spec, value):
        if isinstance(spec, tuple):
            return tf.nest.pack_sequence_as(spec, list(map(self._converted, spec, value)))
        return tf.convert_to_tensor(value, spec.dtype)

    def _smallest(self, spec, rows):
        shape = [size or (1 if axis else rows) for axis, size in enumerate(spec.shape)]
        if spec.dtype == tf.string:
            return tf.fill(shape, self._text)
        # 0 is a token of every vocabulary; 1 is a setting that everything accepts.
        return tf.zeros(shape, spec.dtype) if shape else tf.ones(shape, spec.dtype)

    def _in_graph(self, *arguments):
        if not self._in_graphs:
            raise RuntimeError(
                "Texts must be generated and scored outside of a tf.function, which runs Python code only once. "
                "Inside, use the functions of text_graph(): generate, score and step."
            )
        return self._function(*arguments)
