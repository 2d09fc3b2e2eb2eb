"""A text in which every character is colored by its surprise, line by line, as a self-contained HTML page."""

import html
import itertools
import math
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from tfcharlm.plots.colors import DARK_PAGE, LEVELS, LIGHT_PAGE, Ramp, legend_levels, level_of
from tfcharlm.plots.html_page import MARKS, escaped, html_page

# What was expected has the color of the page. The further from it in brightness, the more surprising: this can be seen
# without seeing hues.
LIGHT: Ramp = (LIGHT_PAGE, (253, 174, 97), (128, 0, 38))
DARK: Ramp = (DARK_PAGE, (150, 60, 30), (255, 214, 140))
# Of so many pieces, the strongest color shows the bits by default. A few pieces that cost much more would make all
# others pale.
FRACTION = 0.99
EXPLAINED = (
    "Surprise is \u2212log\u2082 of the probability that the model gave to what came, in bits. 0: it was certain; 1: "
    "one chance in 2; 3: one in 8; 10: one in 1,024."
)

STYLE = """\
.surprise{max-width:72em}.surprise .legend{position:sticky;top:0;background:inherit;margin:0;padding:.6em 0}
.surprise table{border-collapse:collapse;width:100%;table-layout:fixed}
.surprise th,.surprise td{padding:.1em .6em;vertical-align:top;text-align:right}
.surprise th:first-child{width:4em}.surprise th:nth-child(2){width:6em}
.surprise thead th{vertical-align:bottom;border-bottom:2px solid #888}.surprise thead th:last-child{text-align:left}
.surprise tbody th{font-weight:normal;opacity:.7}.surprise tbody th,.surprise .mean{user-select:none}
.surprise .mean span{padding:.1em .5em;border-radius:.3em}
.surprise td.text{text-align:left;border:0;padding:.1em .6em}
.surprise tbody tr{border-bottom:1px solid #8884}
.surprise .text span:hover{outline:2px solid}
"""


class LineOfText(Protocol):
    """What the page uses of `tfcharlm.analysis.LineSurprise`."""

    @property
    def number(self) -> int: ...

    @property
    def bits_per_character(self) -> float: ...


class SurprisingText(Protocol):
    """What the page uses of `tfcharlm.analysis.Surprise`."""

    @property
    def pieces(self) -> Sequence[str]: ...

    @property
    def bits(self) -> np.ndarray: ...

    @property
    def lines(self) -> Sequence[LineOfText]: ...


def surprise_page(
    surprise: SurprisingText,
    title: str = "Surprise over a text",
    note: str = "",
    max_bits: float | None = None,
    first_line: int = 1,
) -> str:
    """Makes a page that shows a text with each character, or each word of a model of words, colored by its surprise.

    What the model expected has the color of the page; the stronger the color, the more bits it cost. The mean of each
    line is beside the line. A pointer on a character shows its bits. The page follows the reader's choice of a light or
    a dark background.

    Args:
        surprise: `tfcharlm.analysis.Surprise`.
        title: title of the page.
        note: a sentence below the title, such as which part of the text this is; none by default.
        max_bits: the bits of the strongest color, which stands for more, too. None (default) chooses 4, 8, 12 and so on
            so that 99 of 100 pieces are below. Give a number to compare pages.
        first_line: the number of the first line, for a part of a text; 1 by default.

    Returns:
        A complete HTML document as a string. Write it to a file as UTF-8, or pass it to `IPython.display.HTML`. The
        contents of the elements of class "text" are exactly the lines of the text, with one exception: HTML has no NUL
        character and has U+FFFD for it.

    Raises:
        ValueError: `max_bits` is not a number above 0.

    Example:

    >>> import tfcharlm
    >>> from tfcharlm.analysis import record_surprise
    >>> from tfcharlm.plots import surprise_page
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abc\\n"), [tfcharlm.LSTMCell(5)])
    >>> page = surprise_page(record_surprise(model, "abc\\ncab"), note="Two lines.")
    >>> page[:15], page.count('<td class="text">')
    ('<!DOCTYPE html>', 2)
    """
    if max_bits is None:
        max_bits = _max_bits(surprise.bits)
    elif isinstance(max_bits, bool) or not 0 < max_bits < math.inf:
        raise ValueError(f"max_bits must be a number above 0, or None; received {max_bits!r}.")
    rows = [
        f'<tr><th scope="row">{line.number + first_line - 1:,}</th>'
        f'<td class="mean">{_mean(line.bits_per_character, max_bits)}</td>'
        f'<td class="text">{"".join(_span(*piece) for piece in pieces)}</td></tr>\n'
        for line, pieces in zip(surprise.lines, _lines(surprise, max_bits), strict=True)
    ]
    content = (
        f"{f'<p>{html.escape(note)}</p>' if note else ''}\n<p>{EXPLAINED}</p>\n{_legend(max_bits)}"
        '<table>\n<thead><tr><th scope="col">Line</th><th scope="col">Bits per character</th>'
        f'<th scope="col">Text</th></tr></thead>\n<tbody>\n{"".join(rows)}</tbody>\n</table>\n'
    )
    return html_page(title, content, LIGHT, DARK, "surprise", STYLE)


def _max_bits(bits):
    finite = bits[np.isfinite(bits)]
    most = float(np.quantile(finite, FRACTION)) if len(finite) else 0.0
    return 4.0 * max(1, math.ceil(most / 4))


def _legend(max_bits):
    boxes = []
    for level in legend_levels():
        more = " or more bits" if level == LEVELS - 1 else ""
        boxes.append(f'<span class="v{level}">{max_bits * level / (LEVELS - 1):.3g}{more}</span>')
    return f'<p class="scale legend">{"".join(boxes)}</p>\n'


def _lines(surprise, max_bits) -> Iterator[list[tuple[str, float, int]]]:
    """The pieces of each line: `(piece, bits, level)`."""
    newlines_before = itertools.accumulate((piece == "\n" for piece in surprise.pieces), initial=0)
    pieces = zip(surprise.pieces, np.asarray(surprise.bits).tolist(), _levels(surprise.bits, max_bits), strict=True)
    for _, line in itertools.groupby(zip(newlines_before, pieces, strict=False), lambda numbered: numbered[0]):
        yield [piece for _, piece in line]


def _levels(bits, max_bits):
    """The color of each number of bits; that of the page if it is not a number."""
    return level_of(np.minimum(np.nan_to_num(bits, posinf=max_bits), max_bits), 0, max_bits)


def _mean(bits, max_bits):
    return f'<span class="v{_levels([bits], max_bits)[0]}">{bits:.2f}</span>'


def _span(piece, bits, level):
    mark = f" {MARKS[piece]}" if piece in MARKS else ""
    title = escaped(f"{_name(piece)}: {bits:.2f} bits")
    return f'<span class="v{level}{mark}" title="{title}">{escaped(piece)}</span>'


def _name(piece):
    """A piece as a tooltip shows it; the name of a character that is invisible."""
    if len(piece) > 1 or (piece.isprintable() and piece != " "):
        return "".join(char if char.isprintable() else repr(char)[1:-1] for char in piece)
    names = {"\n": "newline", "\t": "tab", " ": "space"}
    return names.get(piece) or f"U+{ord(piece):04X} {unicodedata.name(piece, '')}".strip()
