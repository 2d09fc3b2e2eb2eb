"""Lines: learning curves, and gradients over time."""

import collections.abc
import csv
import os
from pathlib import Path

from tfcharlm.plots.figures import new_figure

MEASURE, VALIDATION = "bits_per_character", "val_bits_per_character"


def learning_curve(history):
    """The learning curve of a run: bits per character, training and validation.

    Args:
        history: `tfcharlm.training.evaluation.Report`s, oldest first, as a `TrainingRun` returns them; or the path of a
            learning_curve.csv that `tfcharlm train` wrote: both over the tokens read. Or the `history.history` of a
            `fit`, over epochs, with validation if it has one.

    Returns:
        A matplotlib `Figure`.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: a dict or a file without bits per character.

    Example:

    >>> from tfcharlm.plots import learning_curve
    >>> figure = learning_curve({"bits_per_character": [3.0, 2.5], "val_bits_per_character": [2.9, 2.6]})
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['training', 'validation']
    """
    label, places, columns = _curves(history)
    figure = new_figure(7, 4.2)
    axes = figure.subplots()
    for name, title in ((MEASURE, "training"), (VALIDATION, "validation")):
        if name in columns:
            axes.plot(places, columns[name], marker=".", label=title)
    axes.set_xlabel(label)
    axes.set_ylabel("bits per character")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def gradient_norm_plot(norms):
    """How far gradients reach back: their norms over the steps between a state and the loss, on a logarithmic scale.

    A straight line down is a gradient that shrinks by the same factor with every step: it vanishes.

    Args:
        norms: `{name: what tfcharlm.analysis.gradient_norms returns}`, such as one of an RNN and one of an LSTM;
            each name has a color, and each of its layers and states a line.

    Returns:
        A matplotlib `Figure`.

    Raises:
        ImportError: matplotlib is not installed.

    Example:

    >>> from tfcharlm.plots import gradient_norm_plot
    >>> figure = gradient_norm_plot({"RNN": ({"h": np.array([0.01, 0.1, 1.0])},)})
    >>> figure.axes[0].lines[0].get_xdata().tolist(), figure.axes[0].get_yscale()
    ([2, 1, 0], 'log')
    """
    figure = new_figure(7, 4.2)
    axes = figure.subplots()
    for number, (name, layers) in enumerate(norms.items()):
        styles = iter(("-", "--", ":", "-.") * len(layers))
        for layer, states in enumerate(layers):
            for kind, values in states.items():
                where = f"{kind} of layer {layer}" if len(layers) > 1 else kind
                # A norm that has underflown has no place on the scale; the line ends before it.
                heights = [value if value > 0 else float("nan") for value in values]
                back = list(range(len(heights) - 1, -1, -1))
                axes.plot(back, heights, next(styles), color=f"C{number}", label=f"{name}, {where}")
    axes.set_yscale("log")
    axes.set_xlabel("steps between the state and the prediction")
    axes.set_ylabel("norm of the loss's gradient")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    for text in axes.legend().get_texts():
        text.set_parse_math(False)
    return figure


def _curves(history):
    """`(label of the x axis, places on it, {name: values})`."""
    if isinstance(history, collections.abc.Mapping):
        if MEASURE not in history:
            raise ValueError(f"history must have {MEASURE}, as the fit of a CharLM has; received {list(history)}.")
        return "epochs", range(1, len(history[MEASURE]) + 1), history
    if isinstance(history, str | os.PathLike):
        rows = _read_table(Path(history))
    else:
        rows = [{name: getattr(report, name) for name in ("tokens", MEASURE, VALIDATION)} for report in history]
    columns = {name: [float(row[name]) for row in rows] for name in (MEASURE, VALIDATION)}
    return "tokens read (millions)", [float(row["tokens"]) / 1e6 for row in rows], columns


def _read_table(path):
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        return [{name: float(row[name]) for name in ("tokens", MEASURE, VALIDATION)} for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no learning curve as `tfcharlm train` writes it: {error!r}.") from None
