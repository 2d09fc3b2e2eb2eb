"""Features of a text that a unit might track: a value for every character, true or measured after it is read."""

import re
from collections.abc import Callable, Iterable

import numpy as np

# A quotation has both its marks in one paragraph. A single mark is mostly an apostrophe: it opens a quotation only
# before a capital letter that does not start 'Tis or a similar word, and closes one only after punctuation.
_QUOTATION = re.compile(
    r'"(?:(?!\n\n)[^"])*"|“(?:(?!\n\n)[^”])*”|«(?:(?!\n\n)[^»])*»'
    r"|(?<!\w)'(?!T(?:is|was|were|will|would)\b)(?=[A-Z])(?:(?!\n\n)[^\"])+?[.,;:!?-]'(?!\w)"
)
_SPEAKER = re.compile(r"^[^\n:]+(?=:$)", re.MULTILINE)


def quotation(text: str) -> np.ndarray:
    """Inside quotation marks: True from the opening mark to the character before the closing one.

    Example:

    >>> from tfcharlm.analysis.text_features import quotation
    >>> "".join("_Q"[int(inside)] for inside in quotation('"Go," he said.'))
    'QQQQ__________'
    """
    return _marked(text, ((match.start(), match.end() - 1) for match in _QUOTATION.finditer(text)))


def line_end(text: str) -> np.ndarray:
    """At the last character of a line: True where the next character, which the model has to predict, is a newline."""
    return np.array([character == "\n" for character in text[1:]] + [False] * bool(text), dtype=bool)


def line_position(text: str) -> np.ndarray:
    """The number of characters since the start of the line; a newline has 0."""
    positions, position = [], 0
    for character in text:
        position = 0 if character == "\n" else position + 1
        positions.append(position)
    return np.array(positions, dtype=float)


def speaker(text: str) -> np.ndarray:
    """In the name of a speaker: True in a line of capitals that ends with a colon, as in the corpus "shakespeare".

    Example:

    >>> from tfcharlm.analysis.text_features import speaker
    >>> "".join("_S"[int(inside)] for inside in speaker("KENT:\\nNo:\\n"))
    'SSSS______'
    """
    names = (match for match in _SPEAKER.finditer(text) if match.group().isupper())
    return _marked(text, (match.span() for match in names))


def _marked(text: str, spans: Iterable[tuple[int, int]]) -> np.ndarray:
    inside = np.zeros(len(text), dtype=bool)
    for begin, end in spans:
        inside[begin:end] = True
    return inside


FEATURES: dict[str, Callable[[str], np.ndarray]] = {
    "quotation": quotation,
    "line end": line_end,
    "line position": line_position,
    "speaker": speaker,
}
