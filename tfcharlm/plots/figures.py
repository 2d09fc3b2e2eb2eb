"""Figures of matplotlib, which is imported only when one is drawn, and the files that they are saved to."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure; width and height are in inches. If matplotlib is missing, the ImportError says what to type."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('plots need matplotlib; type pip install "tfcharlm[plots]"') from error
    return Figure(figsize=(width, height), layout="constrained")


def image(figure: Figure, format: str = "png") -> bytes:
    """Turns a figure into the bytes of a file. The same figure always gives the same bytes.

    Args:
        figure: a matplotlib `Figure`, such as the functions of `tfcharlm.plots` return.
        format: "png" (default; 120 dots per inch) or "svg".

    Returns:
        The content of the file.

    Raises:
        ValueError: `format` is neither of them.

    Example:

    >>> from tfcharlm import plots
    >>> plots.image(plots.learning_curve({"bits_per_character": [3.0, 2.5]}))[1:4]
    b'PNG'
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}; received {format!r}.")
    import matplotlib

    content = io.BytesIO()
    # Without these settings, an SVG file contains random names and the time.
    with matplotlib.rc_context({"svg.hashsalt": "tfcharlm"}):
        figure.savefig(content, format=format, dpi=120, metadata={"Date": None} if format == "svg" else None)
    return content.getvalue()
