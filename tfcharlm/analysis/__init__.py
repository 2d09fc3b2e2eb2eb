"""Measurements: what a model does while it reads a text, how much of its generated text is copied, what counting gives.

`tfcharlm.plots` makes pictures of these numbers.
"""

from tfcharlm.analysis.activations import Activations, record_activations
from tfcharlm.analysis.gradient_norms import state_gradient_norms
from tfcharlm.analysis.kneser_ney import KneserNey, kneser_ney_losses
from tfcharlm.analysis.novelty import NoveltyReport, novelty_report
from tfcharlm.analysis.text_features import FEATURES
from tfcharlm.analysis.unit_correlations import UnitCorrelation, correlate_units

__all__ = [
    "FEATURES",
    "Activations",
    "KneserNey",
    "NoveltyReport",
    "UnitCorrelation",
    "correlate_units",
    "kneser_ney_losses",
    "novelty_report",
    "record_activations",
    "state_gradient_norms",
]
