"""Measurements: what a model does while it reads a text, and how much of its generated text is copied.

`tfcharlm.plots` makes pictures of these numbers.
"""

from tfcharlm.analysis.activations import Activations, record_activations
from tfcharlm.analysis.gradient_norms import state_gradient_norms
from tfcharlm.analysis.novelty import NoveltyReport, novelty_report
from tfcharlm.analysis.text_features import FEATURES
from tfcharlm.analysis.unit_correlations import UnitCorrelation, correlate_units

__all__ = [
    "FEATURES",
    "Activations",
    "NoveltyReport",
    "UnitCorrelation",
    "correlate_units",
    "novelty_report",
    "record_activations",
    "state_gradient_norms",
]
