"""The graphs of a model that reads and writes text: made when first needed, with XLA or without."""

import threading

import tensorflow as tf

from tfcharlm.checks import short_repr
from tfcharlm.generation.forks import check_not_forked
from tfcharlm.generation.graph import TextGraph

# Of two threads that need the graph of a model first, one makes it. A lock in the model could not be copied with it.
_MAKING_GRAPHS = threading.RLock()


class GraphOwner:
    """A base of `GenerationMixin`: which `TextGraph` a model generates with."""

    _text_graph: TextGraph | None = None
    _text_graph_without_xla: TextGraph | None = None
    _compiles_generation: bool = True
    supports_xla: bool = True

    @property
    def compiles_generation(self) -> bool:
        """Whether XLA compiles the loop over tokens. True by default; False if XLA cannot compile every cell.

        Set it to False to generate without XLA, for example to debug the model. The texts are the same, except where a
        draw falls within rounding, and take about three times as long. An exported graph is not changed.
        `compile(jit_compile=False)` sets it, too.
        """
        return self._compiles_generation and self.supports_xla

    @compiles_generation.setter
    def compiles_generation(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise ValueError(f"compiles_generation must be True or False; received {short_repr(value)}.")
        self._compiles_generation = value

    def text_graph(self) -> TextGraph:
        """The `TextGraph` of this model, which an export contains. Its functions are compiled when first called."""
        if self._text_graph is None:
            self._make_graph("_text_graph", self.supports_xla)
        return self._text_graph  # type: ignore[return-value]

    def _text_graph_in_python(self) -> TextGraph:
        check_not_forked()
        if self.compiles_generation or not self.supports_xla:
            return self.text_graph()
        if self._text_graph_without_xla is None:
            self._make_graph("_text_graph_without_xla", False)
        return self._text_graph_without_xla  # type: ignore[return-value]

    def _make_graph(self, name, jit_compile):
        # Outside of a tf.function that may be calling: its tensors would not outlive it.
        with _MAKING_GRAPHS, tf.init_scope():
            if getattr(self, name) is None:
                setattr(self, name, TextGraph(self, jit_compile))
