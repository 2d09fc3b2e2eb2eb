"""A text colored by the activations of units, as a self-contained HTML page."""

import html
import itertools
from collections.abc import Iterable, Mapping, Sequence

from tfcharlm.plots.colors import DARK_PAGE, LEVELS, LIGHT_PAGE, Ramp, legend_levels, level_of
from tfcharlm.plots.html_page import MARKS, escaped, html_page
from tfcharlm.plots.selection import Recording, array_of, checked_unit, color_range

# The middle level has the color of the page, lower ones are blue, higher ones red.
LIGHT: Ramp = ((33, 102, 172), LIGHT_PAGE, (178, 24, 43))
DARK: Ramp = ((90, 170, 255), DARK_PAGE, (255, 110, 110))


def colored_text(
    recorded: Recording,
    units: Iterable[Sequence] | Mapping[str, Sequence],
    title: str = "Activations over a text",
) -> str:
    """Makes a page that shows a text once for every unit, each token colored by the unit's activation after it.

    Blue is negative (a closed gate), red is positive (an open gate). The color is strongest at the greatest magnitude
    that the unit reaches in this text. The page follows the reader's choice of a light or a dark background.

    Args:
        recorded: `tfcharlm.analysis.Activations`.
        units: a list of `(layer, kind, unit)` or of `tfcharlm.analysis.UnitCorrelation`s, or a dict of them by title.
        title: title of the page.

    Returns:
        A complete HTML document as a string. Write it to a file as UTF-8, or pass it to `IPython.display.HTML`. The
        content of each element of class "text" is exactly the text, with one exception: HTML has no NUL character and
        has U+FFFD for it.

    Raises:
        ValueError: there are no units, or the layer, kind or unit does not exist.

    Example:

    >>> import tfcharlm
    >>> from tfcharlm.analysis import record_activations
    >>> from tfcharlm.plots import colored_text
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc\\n"), [tfcharlm.LSTMCell(5)])
    >>> page = colored_text(record_activations(model, "abcab"), [(0, "c", 3), (0, "f", 3)])
    >>> page[:15], page.count('<div class="text">')
    ('<!DOCTYPE html>', 2)
    """
    named = units.items() if hasattr(units, "items") else [(None, unit) for unit in units]
    sections = [_section(recorded, name, *unit) for name, unit in named]
    if not sections:
        raise ValueError(f"units must have at least one (layer, kind, unit), such as (0, 'h', 0); received {units!r}.")
    return html_page(title, "".join(sections), LIGHT, DARK)


def _section(recorded, name, layer, kind, unit, score=None):
    array = array_of(recorded, layer, kind)
    values = array[:, checked_unit(array, unit)]
    low, high = color_range(kind in recorded.gate_names, values)
    title = f"{kind} {unit} of layer {layer}" + ("" if score is None else f", correlation {score:+.2f}")
    title = title if name is None else f"{name}: {title}"
    shown = [
        f'<span class="v{level}">{low + (high - low) * level / (LEVELS - 1):.2f}</span>' for level in legend_levels()
    ]
    return (
        f'<section>\n<h2>{html.escape(title)}</h2>\n<p class="scale">{"".join(shown)}</p>\n'
        f'<div class="text">{_spans(recorded.pieces, level_of(values, low, high))}</div>\n</section>\n'
    )


def _spans(pieces, levels):
    """The text in spans of one color; an invisible character has a span of its own."""
    colored = [(level, char) for piece, level in zip(pieces, levels, strict=True) for char in piece]
    spans = []
    for (level, mark), run in itertools.groupby(colored, lambda pair: (pair[0], MARKS.get(pair[1]))):
        if mark is None:
            spans.append(f'<span class="v{level}">{escaped("".join(char for _, char in run))}</span>')
        else:
            spans += [f'<span class="v{level} {mark}">{char}</span>' for _, char in run]
    return "".join(spans)
