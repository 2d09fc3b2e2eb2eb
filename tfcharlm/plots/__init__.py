"""Pictures of a training run and of what a model does inside. Install matplotlib with `pip install "tfcharlm[plots]"`.

Every picture is a `matplotlib.figure.Figure` made without pyplot, so no window opens and nothing has to be closed.
`image` turns it into the bytes of a file. matplotlib is imported only when a figure is drawn; colored text, which is
HTML, does not need it.
"""

from tfcharlm.plots.colored_text import colored_text
from tfcharlm.plots.curves import gradient_norm_plot, learning_curve
from tfcharlm.plots.figures import image
from tfcharlm.plots.heatmaps import MAX_TOKENS, activation_heatmap, gate_heatmap
from tfcharlm.plots.surprise_page import surprise_page
from tfcharlm.plots.trials import trials_plot

__all__ = [
    "MAX_TOKENS",
    "activation_heatmap",
    "colored_text",
    "gate_heatmap",
    "gradient_norm_plot",
    "image",
    "learning_curve",
    "surprise_page",
    "trials_plot",
]
