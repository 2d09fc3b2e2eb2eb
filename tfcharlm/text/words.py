"""Cutting a text into words, marks and white space, so that the pieces joined are the text.

A word takes the space before it along (`" word"`, as in GPT-2) and keeps its apostrophes. A mark of
punctuation is a piece, also with the space before it; any other ASCII white space is a piece of its
own. What is not ASCII belongs to words.
"""

import re

_SPACE = r" \t\n\r\f\v"
_MARK = r"!-&(-/:-@\[-`{-~"

# The classes are spelled out because \w, \s and \b mean other things in RE2, the engine of
# TensorFlow, than in Python. So both cut a text at the same places.
PATTERN = f"(?: ?[^{_SPACE}{_MARK}]+| ?[{_MARK}]|[{_SPACE}])"

WORD = re.compile(PATTERN)
