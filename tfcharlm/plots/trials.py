"""A plot of a search: the losses of its trials, in order and over each hyperparameter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tfcharlm.plots.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS, MAX_TICKS = 3, 6
LOGARITHMIC = ("units", "batch_size", "sequence_length", "learning_rate", "embedding_dim", "clip_norm")


def trials_plot(rows: Iterable[Mapping[str, Any]]) -> Figure:
    """Draws the losses of a search: in the order of the trials, and over each hyperparameter with several values.

    Args:
        rows: the rows of `tfcharlm.tuning.leaderboard`. Trials without a loss are left out.

    Returns:
        A matplotlib `Figure`. The best trial is red.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: no trial has a loss.

    Example:

    >>> from tfcharlm.plots import trials_plot
    >>> rows = [{"trial": "0", "val_loss": 2.0, "units": 64}, {"trial": "1", "val_loss": 1.5, "units": 128}]
    >>> [axes.get_xlabel() for axes in trials_plot(rows).axes]
    ['trial', 'units']
    """
    rows = [row for row in rows if row["val_loss"] is not None]
    if not rows:
        raise ValueError("rows must have at least one trial with a loss; received none.")
    rows = sorted(rows, key=lambda row: int(row["trial"]))
    losses = [row["val_loss"] for row in rows]
    best = min(range(len(rows)), key=losses.__getitem__)
    names = [name for name in rows[0] if name not in ("rank", "trial", "status", "val_loss")]
    names = [name for name in names if len({row.get(name) for row in rows}) > 1]
    lines = 1 + math.ceil(len(names) / COLUMNS)
    figure = new_figure(9, 2.6 * lines)
    grid = figure.add_gridspec(lines, COLUMNS)
    axes = figure.add_subplot(grid[0, :])
    numbers = [int(row["trial"]) for row in rows]
    _dots(axes, "trial", numbers, losses, best)
    running = [min(losses[: i + 1]) for i in range(len(losses))]
    axes.step(numbers, running, where="post", color="tab:red", alpha=0.6, label="best so far")
    axes.legend()
    for k, name in enumerate(names):
        axes = figure.add_subplot(grid[1 + k // COLUMNS, k % COLUMNS])
        _dots(axes, name, [row.get(name) for row in rows], losses, best)
    return figure


def _dots(axes, name, values, losses, best):
    numeric = all(isinstance(value, int | float) for value in values)
    if not numeric:
        values = [str(value) for value in values]
    axes.scatter(values, losses, s=16, alpha=0.7)
    axes.scatter([values[best]], [losses[best]], s=40, color="tab:red")
    if numeric and name in LOGARITHMIC:
        axes.set_xscale("log")
    different = sorted(set(values)) if numeric else []
    if 0 < len(different) <= MAX_TICKS:
        axes.set_xticks(different, labels=[f"{value:g}" for value in different], fontsize=8)
        axes.minorticks_off()
    elif name in LOGARITHMIC and numeric:
        ticks = [m * 10.0**e for e in range(-9, 9) for m in (1, 3) if min(values) / 2 < m * 10.0**e < max(values) * 2]
        axes.set_xticks(ticks, labels=[f"{value:g}" for value in ticks])
        axes.minorticks_off()
    elif name == "trial":
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel(name)
    axes.set_ylabel("val_loss")
    axes.grid(alpha=0.3)
