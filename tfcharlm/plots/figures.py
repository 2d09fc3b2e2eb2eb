"""matplotlib's figures, made when somebody asks for one, and the files of them."""

import io

FORMATS = ("png", "svg")


def new_figure(width, height):
    """An empty figure of so many inches; an ImportError that says what to type if there is no matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('plots need matplotlib; type pip install "tfcharlm[plots]"') from error
    return Figure(figsize=(width, height), layout="constrained")


def image(figure, format="png"):
    """A figure as the bytes of a file; the same bytes for the same figure.

    Args:
        figure: as the functions of `tfcharlm.plots` return it.
        format: "png" (120 dots an inch) or "svg".

    Returns:
        bytes.

    Raises:
        ValueError: another format.

    Example:

    >>> from tfcharlm import plots
    >>> plots.image(plots.learning_curve({"bits_per_character": [3.0, 2.5]}))[1:4]
    b'PNG'
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}; received {format!r}.")
    import matplotlib

    content = io.BytesIO()
    # Otherwise an SVG file has random names and the time of day in it.
    with matplotlib.rc_context({"svg.hashsalt": "tfcharlm"}):
        figure.savefig(content, format=format, dpi=120, metadata={"Date": None} if format == "svg" else None)
    return content.getvalue()
