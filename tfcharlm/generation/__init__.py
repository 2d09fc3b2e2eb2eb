"""Text in, text out: continues prompts, scores texts, finds likely continuations; in Python and in SavedModels."""

from tfcharlm.generation.debugging import is_debugging
from tfcharlm.generation.default_settings import with_default_settings
from tfcharlm.generation.dynamic_evaluation import DynamicEvaluation
from tfcharlm.generation.earlier_graph import EARLIER_GRAPHS
from tfcharlm.generation.forks import check_not_forked
from tfcharlm.generation.graph import TextGraph
from tfcharlm.generation.mixin import GenerationMixin
from tfcharlm.generation.protocol import AdaptableModel, LanguageModel
from tfcharlm.generation.row_blocks import ROW_BLOCK, RowBlock, RowBlocks
from tfcharlm.generation.sampling import SPECS as SAMPLING_SPECS
from tfcharlm.generation.sampling_settings import Sampling
from tfcharlm.generation.stops import StopSearch
from tfcharlm.generation.streaming import TextStreamer

__all__ = [
    "EARLIER_GRAPHS",
    "ROW_BLOCK",
    "SAMPLING_SPECS",
    "AdaptableModel",
    "DynamicEvaluation",
    "GenerationMixin",
    "LanguageModel",
    "RowBlock",
    "RowBlocks",
    "Sampling",
    "StopSearch",
    "TextGraph",
    "TextStreamer",
    "check_not_forked",
    "is_debugging",
    "with_default_settings",
]
