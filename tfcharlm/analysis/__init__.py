"""Measurements: what a model does while it reads, what surprises it, how much it copies, and what counting gives.

`tfcharlm.plots` makes pictures of these numbers.
"""

from tfcharlm.analysis.activations import Activations, follow_unit, record_activations
from tfcharlm.analysis.gradient_norms import state_gradient_norms
from tfcharlm.analysis.kneser_ney import KneserNey, kneser_ney_losses
from tfcharlm.analysis.novelty import NoveltyReport, novelty_report
from tfcharlm.analysis.surprise import LineSurprise, Surprise, join_surprises, record_surprise, score_items
from tfcharlm.analysis.text_features import FEATURES
from tfcharlm.analysis.unit_correlations import UnitCorrelation, correlate_units

__all__ = [
    "FEATURES",
    "Activations",
    "KneserNey",
    "LineSurprise",
    "NoveltyReport",
    "Surprise",
    "UnitCorrelation",
    "correlate_units",
    "follow_unit",
    "join_surprises",
    "kneser_ney_losses",
    "novelty_report",
    "record_activations",
    "record_surprise",
    "score_items",
    "state_gradient_norms",
]
