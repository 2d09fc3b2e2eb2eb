"""Pictures of a run. matplotlib comes with `pip install "tfcharlm[plots]"`."""

import io


def learning_curve(history):
    """The learning curve of a run as a PNG image.

    Args:
        history: `tfcharlm.callbacks.Report`s, oldest first.

    Returns:
        The bytes of a PNG file: bits per character, training and validation, over the tokens read.

    Raises:
        ImportError: matplotlib is not installed.

    Example:

    >>> from tfcharlm.callbacks import Report
    >>> report = Report(step=1, seconds=2.0, tokens=64, learning_rate=1e-3, loss=2.0, bits_per_character=2.9,
    ...                 val_loss=2.1, val_bits_per_character=3.0)
    >>> learning_curve([report])[1:4]
    b'PNG'
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('plots need matplotlib; type pip install "tfcharlm[plots]"') from error
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    tokens = [report.tokens / 1e6 for report in history]
    axes.plot(tokens, [report.bits_per_character for report in history], marker=".", label="training")
    axes.plot(tokens, [report.val_bits_per_character for report in history], marker=".", label="validation")
    axes.set_xlabel("tokens read (millions)")
    axes.set_ylabel("bits per character")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend()
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    return image.getvalue()
