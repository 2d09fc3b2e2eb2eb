"""A text colored by the activations of units, as a self-contained HTML page."""

import html
import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tfcharlm.plots.selection import Recording, array_of, checked_unit, color_range

Color = tuple[int, int, int]
# How many colors there are: the middle one is that of the page, lower ones are blue, higher ones red.
LEVELS = 21
# (lowest, middle, highest) on a light page and on a dark one.
LIGHT: tuple[Color, Color, Color] = ((33, 102, 172), (255, 255, 255), (178, 24, 43))
DARK: tuple[Color, Color, Color] = ((90, 170, 255), (30, 30, 30), (255, 110, 110))
# The classes of invisible characters. The style draws a mark for them, so that the mark is not part of the text.
MARKS = {"\n": "line", "\t": "tab"}

STYLE = """\
.colored-text{background:#fff;color:#000;font:16px/1.5 sans-serif;padding:1em;max-width:60em;margin:auto}
.colored-text h1{font-size:1.4em}.colored-text h2{font-size:1.1em;margin:1.5em 0 .3em}
.colored-text .scale,.colored-text .text{font-family:monospace;font-size:15px}
.colored-text .scale span{padding:.15em .6em;border:1px solid #888}
.colored-text .text{white-space:pre-wrap;overflow-wrap:anywhere;tab-size:4;border:1px solid #888;padding:.5em}
.colored-text .line::before{content:"\\21b5";opacity:.6}.colored-text .tab::before{content:"\\2192";opacity:.6}
"""


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
    title = html.escape(title)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{title}</title>\n<style>\n{_style()}</style>\n</head>\n<body>\n"
        f'<div class="colored-text">\n<h1>{title}</h1>\n{"".join(sections)}</div>\n</body>\n</html>\n'
    )


def _section(recorded, name, layer, kind, unit, score=None):
    array = array_of(recorded, layer, kind)
    values = array[:, checked_unit(array, unit)]
    low, high = color_range(kind in recorded.gate_names, values)
    title = f"{kind} {unit} of layer {layer}" + ("" if score is None else f", correlation {score:+.2f}")
    title = title if name is None else f"{name}: {title}"
    shown = [f'<span class="v{level}">{low + (high - low) * level / (LEVELS - 1):.2f}</span>' for level in _legend()]
    return (
        f'<section>\n<h2>{html.escape(title)}</h2>\n<p class="scale">{"".join(shown)}</p>\n'
        f'<div class="text">{_spans(recorded.pieces, _levels(values, low, high))}</div>\n</section>\n'
    )


def _legend():
    return range(0, LEVELS, (LEVELS - 1) // 4)


def _levels(values, low, high):
    """The color of each value, from 0 to LEVELS - 1; the middle one for a value that is not finite."""
    scaled = (np.asarray(values, np.float64) - low) / (high - low)
    scaled = np.where(np.isfinite(scaled), scaled, 0.5)
    return np.rint(scaled * (LEVELS - 1)).astype(int).tolist()


def _spans(pieces, levels):
    """The text in spans of one color; an invisible character has a span of its own."""
    colored = [(level, char) for piece, level in zip(pieces, levels, strict=True) for char in piece]
    spans = []
    for (level, mark), run in itertools.groupby(colored, lambda pair: (pair[0], MARKS.get(pair[1]))):
        if mark is None:
            spans.append(f'<span class="v{level}">{_escaped("".join(char for _, char in run))}</span>')
        else:
            spans += [f'<span class="v{level} {mark}">{char}</span>' for _, char in run]
    return "".join(spans)


def _escaped(text):
    # A browser would turn a carriage return into a line feed.
    return html.escape(text).replace("\r", "&#13;").replace("\0", "\ufffd")


def _style():
    dark = f".colored-text{{background:#1e1e1e;color:#fff}}\n{_rules(DARK)}"
    return f"{STYLE}{_rules(LIGHT)}@media (prefers-color-scheme:dark){{\n{dark}}}\n"


def _rules(ends):
    rules = []
    for level, color in enumerate(_colors(ends)):
        ink = max(((0, 0, 0), (255, 255, 255)), key=lambda ink, color=color: contrast(ink, color))
        rules.append(f".colored-text .v{level}{{background:{_hexadecimal(color)};color:{_hexadecimal(ink)}}}\n")
    return "".join(rules)


def _colors(ends):
    """LEVELS colors from the lowest over the middle to the highest one."""
    low, middle, high = map(np.array, ends)
    positions = np.linspace(-1, 1, LEVELS)
    return [np.rint(middle + abs(x) * ((low if x < 0 else high) - middle)).astype(int) for x in positions]


def contrast(one: Sequence[int], other: Sequence[int]) -> float:
    """The contrast ratio of two colors (red, green, blue), from 1 to 21.

    Reference: Web Content Accessibility Guidelines 2.1, relative luminance and contrast ratio.
    """
    darker, lighter = sorted(_luminance(np.array(color) / 255) for color in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color):
    linear = np.where(color <= 0.03928, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def _hexadecimal(color):
    return "#" + "".join(f"{part:02x}" for part in color)
