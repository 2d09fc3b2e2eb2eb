"""Activations over a text as heat maps."""

import numpy as np

from tfcharlm.plots.figures import new_figure
from tfcharlm.plots.selection import array_of, checked_unit, color_range

# More columns than this cannot be read as text.
MAX_TOKENS = 200
# Rows that get a number each, and inches of a column and of a row with one.
MAX_NUMBERED, CELL = 64, 0.16
GATES, OTHERS = "gates, from closed to open", {"candidate g and output h": ("g", "h"), "cell state": ("c",)}
# Control characters as Unicode's pictures of them, and what is no character: an SVG may hold neither.
CONTROLS = {chr(code): chr(0x2400 + code) for code in range(32)} | {"\ufffe": "\ufffd", "\uffff": "\ufffd"}
VISIBLE = str.maketrans(CONTROLS | {"\n": "↵", "\t": "→", " ": "␣"})


def activation_heatmap(recorded, layer=0, kind="h", units=None):
    """Units of a layer over the tokens of a text. Blue is below the middle, red above.

    Args:
        recorded: `Activations` of at most 200 tokens; `recorded.part(begin, end)` cuts some out.
        layer: number of the recurrent layer, 0 at the bottom.
        kind: which of its arrays, such as "h", "c" or "f". Gates are colored from 0 to 1, all others as far to both
            sides of 0 as the greatest magnitude.
        units: their numbers, from the top down; None takes all.

    Returns:
        A matplotlib `Figure` with one image (units, tokens).

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: more than 200 tokens, or no such layer, kind or unit.

    Example:

    >>> from tfcharlm.analysis import activations
    >>> from tfcharlm.plots import activation_heatmap
    >>> model = CharLM(Vocabulary("abc\\n"), [LSTMCell(5)])
    >>> figure = activation_heatmap(activations(model, "abcab"), kind="c", units=[4, 0, 2])
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


def gate_heatmap(recorded, layer=0, unit=0):
    """All about one unit of an LSTM over the tokens of a text: gates i, f, o, candidate g, output h, cell state c.

    Args:
        recorded: `Activations` of at most 200 tokens; `recorded.part(begin, end)` cuts some out.
        layer: number of the recurrent layer, 0 at the bottom.
        unit: number of the unit.

    Returns:
        A matplotlib `Figure` with three images, (3, tokens), (2, tokens) and (1, tokens): the gates, colored from 0
        to 1; g and h, which lie between -1 and 1; c, which need not.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: more than 200 tokens, no such layer or unit, or the layer has no gates.

    Example:

    >>> from tfcharlm.analysis import activations
    >>> from tfcharlm.plots import gate_heatmap
    >>> model = CharLM(Vocabulary("abc\\n"), [LSTMCell(5)])
    >>> [axes.images[0].get_array().shape for axes in gate_heatmap(activations(model, "abcab"), unit=3).axes[:3]]
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
    # Not shared axes: matplotlib would lay out all the labels once for each.
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
