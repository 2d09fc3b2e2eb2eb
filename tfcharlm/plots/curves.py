"""Line plots: learning curves, and gradient norms over time."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfcharlm.bookkeeping import read_file
from tfcharlm.plots.figures import new_figure

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

MEASURE, VALIDATION = "bits_per_character", "val_bits_per_character"


def learning_curve(history: Iterable[Any] | Mapping[str, Sequence[float]] | Path | str) -> Figure:
    """Draws the learning curve of a run: bits per character in training and validation.

    Args:
        history: the `tfcharlm.training.Evaluation`s of a `TrainingRun`, oldest first, or the path of a
            learning_curve.csv that `tfcharlm train` wrote: the x axis then counts the tokens read. Or the
            `history.history` of a `fit`, with or without validation: the x axis then counts epochs.

    Returns:
        A matplotlib `Figure`.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the dict or the file has no bits per character.

    Example:

    >>> from tfcharlm.plots import learning_curve
    >>> figure = learning_curve({"bits_per_character": [3.0, 2.5], "val_bits_per_character": [2.9, 2.6]})
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['training', 'validation']
    """
    label, positions, columns = _curves(history)
    figure = new_figure(7, 4.2)
    axes = figure.subplots()
    for name, title in ((MEASURE, "training"), (VALIDATION, "validation")):
        if name in columns:
            axes.plot(positions, columns[name], marker=".", label=title)
    axes.set_xlabel(label)
    axes.set_ylabel("bits per character")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def gradient_norm_plot(norms: Mapping[str, Sequence[Mapping[str, np.ndarray]]]) -> Figure:
    """Draws how far gradients reach back: their norms over the steps between a state and the loss, on a log scale.

    A straight line that falls is a gradient that shrinks by the same factor with every step: it vanishes.

    Args:
        norms: `{name: result of tfcharlm.analysis.state_gradient_norms}`, for example one of an RNN and one of an LSTM.
            Each name has a color, and each of its layers and states has a line.

    Returns:
        A matplotlib `Figure`.

    Raises:
        ImportError: matplotlib is not installed.

    Example:

    >>> import numpy as np
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
                # A norm that underflowed to 0 is not on a log scale; the line ends before it.
                heights = [value if value > 0 else float("nan") for value in values]
                steps_back = list(range(len(heights) - 1, -1, -1))
                axes.plot(steps_back, heights, next(styles), color=f"C{number}", label=f"{name}, {where}")
    axes.set_yscale("log")
    axes.set_xlabel("steps between the state and the prediction")
    axes.set_ylabel("norm of the loss's gradient")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    for text in axes.legend().get_texts():
        text.set_parse_math(False)
    return figure


def _curves(history):
    """`(label of the x axis, positions on it, {name: values})`."""
    if isinstance(history, Mapping):
        if MEASURE not in history:
            raise ValueError(f"history must have {MEASURE}, as that of CharLM.fit has; received {list(history)}.")
        return "epochs", range(1, len(history[MEASURE]) + 1), history
    if isinstance(history, str | os.PathLike):
        rows = _read_table(Path(history))
    else:
        rows = [{name: getattr(one, name) for name in ("tokens", MEASURE, VALIDATION)} for one in history]
    columns = {
        name: [float("nan") if row[name] is None else float(row[name]) for row in rows]
        for name in (MEASURE, VALIDATION)
    }
    return "tokens read (millions)", [float(row["tokens"]) / 1e6 for row in rows], columns


def _read_table(path):
    content = read_file(path)
    try:
        table = list(csv.DictReader(content.decode("utf-8").splitlines()))
        rows = [{name: _number(row, name) for name in ("tokens", MEASURE, VALIDATION)} for row in table]
        if not rows or not all(math.isfinite(row["tokens"]) for row in rows):
            raise ValueError("it must have rows, each with a finite number of tokens")
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} is not a learning curve of `tfcharlm train`: {reason:.120}.") from None
    return rows


def _number(row, name):
    """A value of a row. Before the first step there is no training loss: None, or nothing in a table."""
    return math.nan if name == MEASURE and row[name] in (None, "") else float(row[name])
