"""Text in, text out: continuing prompts, scoring texts, the likeliest continuations; in Python and in SavedModels."""

from tfcharlm.generation.beams import beam_search
from tfcharlm.generation.graph import TextGraph
from tfcharlm.generation.scores import next_token_probabilities, score
from tfcharlm.generation.writer import generate, stream

__all__ = ["TextGraph", "beam_search", "generate", "next_token_probabilities", "score", "stream"]
