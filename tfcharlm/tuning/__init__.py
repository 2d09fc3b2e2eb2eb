"""Searches with Keras Tuner: a space of character models, and searches that survive."""

from tfcharlm.tuning.hypermodel import CharLMHyperModel

__all__ = ["CharLMHyperModel"]
