"""What a model does inside while it reads a text, as numbers. `tfcharlm.plots` makes pictures of them."""

from tfcharlm.activations.features import FEATURES
from tfcharlm.activations.gradients import gradient_norms
from tfcharlm.activations.recording import Activations, activations
from tfcharlm.activations.tracks import Track, unit_tracks

__all__ = ["FEATURES", "Activations", "Track", "activations", "gradient_norms", "unit_tracks"]
