"""What a unit might keep track of in a text: for every character, whether or how much it is so after it is read."""

import re

import numpy as np

# A quotation has both its marks in one paragraph. A single mark is mostly an apostrophe: it opens a quotation only
# before a capital that does not begin 'Tis and its like, and closes one only after a mark of punctuation.
_QUOTATION = re.compile(
    r'"(?:(?!\n\n)[^"])*"|“(?:(?!\n\n)[^”])*”|«(?:(?!\n\n)[^»])*»'
    r"|(?<!\w)'(?!T(?:is|was|were|will|would)\b)(?=[A-Z])(?:(?!\n\n)[^\"])+?[.,;:!?-]'(?!\w)"
)
_SPEAKER = re.compile(r"^[^\n:]+(?=:$)", re.MULTILINE)


def quotation(text):
    """Inside quotation marks: true from the opening mark until before the closing one.

    Example:

    >>> from tfcharlm.analysis.text_features import quotation
    >>> "".join("_Q"[int(inside)] for inside in quotation('"Go," he said.'))
    'QQQQ__________'
    """
    return _marked(text, ((match.start(), match.end() - 1) for match in _QUOTATION.finditer(text)))


def line_end(text):
    """At the last character of a line: the next one, which the model has to foresee, is a newline."""
    return np.array([character == "\n" for character in text[1:]] + [False] * bool(text), dtype=bool)


def line_position(text):
    """The number of characters since the line began: a newline has 0."""
    positions, position = [], 0
    for character in text:
        position = 0 if character == "\n" else position + 1
        positions.append(position)
    return np.array(positions, dtype=float)


def speaker(text):
    """In the name of a speaker, as in the corpus "shakespeare": a line in capitals that ends with a colon.

    Example:

    >>> from tfcharlm.analysis.text_features import speaker
    >>> "".join("_S"[int(inside)] for inside in speaker("KENT:\\nNo:\\n"))
    'SSSS______'
    """
    names = (match for match in _SPEAKER.finditer(text) if match.group().isupper())
    return _marked(text, (match.span() for match in names))


def _marked(text, spans):
    inside = np.zeros(len(text), dtype=bool)
    for begin, end in spans:
        inside[begin:end] = True
    return inside


FEATURES = {"quotation": quotation, "line end": line_end, "line position": line_position, "speaker": speaker}
