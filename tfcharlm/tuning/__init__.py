"""Searches with Keras Tuner: a space of character models, and searches that survive."""

from tfcharlm.tuning.hypermodel import CharLMHyperModel
from tfcharlm.tuning.leaderboard import leaderboard
from tfcharlm.tuning.run import search

__all__ = ["CharLMHyperModel", "leaderboard", "search"]
