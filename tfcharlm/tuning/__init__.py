"""Hyperparameter search with Keras Tuner: a space of character models, and searches that survive interruptions."""

from tfcharlm.training import CHOICES, SEARCHED
from tfcharlm.tuning.fault_tolerance import TrialFiles, make_oracle
from tfcharlm.tuning.hypermodel import CharLMHyperModel
from tfcharlm.tuning.leaderboard import as_csv, leaderboard
from tfcharlm.tuning.role import role_from_environment
from tfcharlm.tuning.search import search

__all__ = [
    "CHOICES",
    "SEARCHED",
    "CharLMHyperModel",
    "TrialFiles",
    "as_csv",
    "leaderboard",
    "make_oracle",
    "role_from_environment",
    "search",
]
