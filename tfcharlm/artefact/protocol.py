"""What an export needs from a model, written down once."""

from collections.abc import Sequence
from typing import Any, Protocol

from tfcharlm.generation import LanguageModel, TextGraph
from tfcharlm.layers import Wiring


class ExportableModel(LanguageModel, Protocol):
    """A Keras model with an embedding, recurrent layers and a head, which continues texts; `CharLM` is one."""

    weights: Sequence
    embedding: Any
    recurrent: Sequence
    head: Any
    wiring: Wiring
    compute_dtype: str
    variable_dtype: str
    supports_xla: bool

    def text_graph(self) -> TextGraph:
        """The functions that the signatures of a SavedModel call."""

    def get_config(self) -> dict[str, Any]:
        """The arguments of the model, as plain data."""

    def get_weights(self) -> list:
        """The values of `weights`, in their order."""
