"""A self-contained HTML page with colored text, which follows the reader's choice of a light or a dark background."""

import html

from tfcharlm.plots.colors import DARK_PAGE, Ramp, hexadecimal, level_rules

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


def html_page(title: str, content: str, light: Ramp, dark: Ramp, kind: str = "", style: str = "") -> str:
    """A complete HTML document.

    Args:
        title: the title, as text.
        content: what follows the title, as HTML.
        light: the colors of the levels on a light page.
        dark: the colors of the levels on a dark page.
        kind: a class of its own, so that pages of different kinds keep their colors in one notebook; none by default.
        style: CSS besides `STYLE` and the colors; empty by default.

    Returns:
        The document as a string.
    """
    title = html.escape(title)
    inside = ".colored-text" + (f".{kind}" if kind else "")
    on_dark = f".colored-text{{background:{hexadecimal(DARK_PAGE)};color:#fff}}\n{level_rules(dark, inside)}"
    colors = f"{level_rules(light, inside)}@media (prefers-color-scheme:dark){{\n{on_dark}}}\n"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{title}</title>\n<style>\n{STYLE}{style}{colors}</style>\n</head>\n<body>\n"
        f'<div class="{inside[1:].replace(".", " ")}">\n<h1>{title}</h1>\n{content}</div>\n</body>\n</html>\n'
    )


def escaped(text: str) -> str:
    """A text as HTML. There is no NUL character in HTML, so U+FFFD stands for it."""
    # A browser would turn a carriage return into a line feed.
    return html.escape(text).replace("\r", "&#13;").replace("\0", "\ufffd")
