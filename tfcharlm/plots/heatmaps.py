"""Heat maps of activations over a text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from tfcharlm.plots.figures import new_figure
from tfcharlm.plots.selection import Recording, array_of, checked_unit, color_range

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The text above more columns than this cannot be read.
MAX_TOKENS = 200
# Up to this many rows, each has a number; the size in inches of a column and of a numbered row.
MAX_NUMBERED, CELL = 64, 0.16
GATES, OTHERS = "gates, from closed to open", {"candidate g and output h": ("g", "h"), "cell state": ("c",)}
# Control characters become Unicode's pictures of them, and noncharacters U+FFFD, because an SVG may contain neither.
CONTROLS = {chr(code): chr(0x2400 + code) for code in range(32)} | {"\ufffe": "\ufffd", "\uffff": "\ufffd"}
VISIBLE = str.maketrans(CONTROLS | {"\n": "↵", "\t": "→", " ": "␣"})


def activation_heatmap(
    recorded: Recording, layer: int = 0, kind: str = "h", units: Iterable[int] | None = None
) -> Figure:
    """Draws the units of a layer over the tokens of a text. Blue is below the middle, red above it.

    Args:
        recorded: `tfcharlm.analysis.Activations` of at most 200 tokens; `recorded.part(begin, end)` cuts a longer text.
        layer: number of the recurrent layer; 0 (default) is the bottom one.
        kind: name of its array, such as "h" (default), "c" or "f". The colors of a gate range from 0 to 1, those of
            other arrays from minus to plus the greatest magnitude.
        units: numbers of the units, from the top row down. None (default) takes all.

    Returns:
        A matplotlib `Figure` with one image (units, tokens).

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there are more than 200 tokens, or the layer, kind or unit does not exist.

    Example:

    >>> import tfcharlm
    >>> from tfcharlm.analysis import record_activations
    >>> from tfcharlm.plots import activation_heatmap
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc\\n"), [tfcharlm.LSTMCell(5)])
    >>> figure = activation_heatmap(record_activations(model, "abcab"), kind="c", units=[4, 0, 2])
    >>> figure.axes[0].images[0].get_array().shape
    (3, 5)
    """
    values = array_of(recorded, layer, kind)
    units = list(range(values.shape[1])) if units is None else [checked_unit(values, unit) for unit in units]
    figure, axes = _figure(recorded, [len(units)])
    _draw(figure, axes[0], values[:, units].T, f"{kind} of layer {layer}", kind in recorded.gate_names)
    axes[0].set_ylabel("unit")
    if len(units) <= MAX_NUMBERED:
        axes[0].set_yticks(range(len(units)), units, fontsize=8)
    return figure


def gate_heatmap(recorded: Recording, layer: int = 0, unit: int = 0) -> Figure:
    """Draws one unit of an LSTM over the tokens of a text: gates i, f, o, candidate g, output h and cell state c.

    Args:
        recorded: `tfcharlm.analysis.Activations` of at most 200 tokens; `recorded.part(begin, end)` cuts a longer text.
        layer: number of the recurrent layer; 0 (default) is the bottom one.
        unit: number of the unit.

    Returns:
        A matplotlib `Figure` with three images: the gates (3, tokens), colored from 0 to 1; g and h (2, tokens), which
        lie between -1 and 1; and c (1, tokens), which has no bounds.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there are more than 200 tokens, the layer or unit does not exist, or the layer has no gates.

    Example:

    >>> import tfcharlm
    >>> from tfcharlm.analysis import record_activations
    >>> from tfcharlm.plots import gate_heatmap
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc\\n"), [tfcharlm.LSTMCell(5)])
    >>> figure = gate_heatmap(record_activations(model, "abcab"), unit=3)
    >>> [axes.images[0].get_array().shape for axes in figure.axes[:3]]
    [(3, 5), (2, 5), (1, 5)]
    """
    parts = {GATES: recorded.gate_names, **OTHERS}
    figure, axes = _figure(recorded, [len(kinds) for kinds in parts.values()])
    for part_axes, (title, kinds) in zip(axes, parts.items(), strict=True):
        arrays = [array_of(recorded, layer, kind) for kind in kinds]
        rows = np.stack([array[:, checked_unit(array, unit)] for array in arrays])
        _draw(figure, part_axes, rows, f"unit {unit} of layer {layer}: {title}", title == GATES)
        part_axes.set_yticks(range(len(kinds)), kinds)
    return figure


def _figure(recorded, heights):
    tokens = len(recorded.pieces)
    if tokens > MAX_TOKENS:
        raise ValueError(
            f"a heat map has at most {MAX_TOKENS} tokens; received {tokens:,}. Type recorded.part(0, {MAX_TOKENS})."
        )
    inches = [max(1.0, CELL * height if height <= MAX_NUMBERED else 0.04 * height + 8) for height in heights]
    figure = new_figure(max(4.0, CELL * tokens + 1.6), sum(inches) + 0.9 * len(heights))
    axes = figure.subplots(len(heights), squeeze=False, height_ratios=inches)[:, 0]
    # The axes are not shared, because matplotlib would lay out all the labels once for each.
    for upper in axes[:-1]:
        upper.set_xticks([])
    labels = [piece.translate(VISIBLE) for piece in recorded.pieces]
    upright = all(len(label) <= 1 for label in labels)
    axes[-1].set_xticks(
        range(tokens), labels, family="monospace", fontsize=9, rotation=0 if upright else 90, parse_math=False
    )
    axes[-1].tick_params(axis="x", length=0)
    return figure, axes


def _draw(figure, axes, rows, title, is_gate):
    low, high = color_range(is_gate, rows)
    image = axes.imshow(rows, cmap="RdBu_r", vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, ax=axes, pad=0.01, fraction=0.05)
