"""Cutting a text into words, marks and white space, so that the pieces joined are the text.

A word takes the space before it along (`" word"`, as in GPT-2) and keeps its apostrophes. A mark of
punctuation is a piece, also with the space before it; any other ASCII white space is a piece of its
own. What is not ASCII belongs to words.

A word that a vocabulary does not have is spelled: its characters stand for it, if all of them are tokens. So nothing is
lost on rare words, the pieces joined are still the text, and no symbol stands for everything unknown. The price is that
a text can be written in more than one way; what a model gives to the one that `encode` takes is a lower bound of the
text's probability. A vocabulary of `min_count=1` has no characters but those that are words: there a model may even
write what cannot be encoded again, for two of its words side by side without a space are another word.
"""

import re

_SPACE = r" \t\n\r\f\v"
_MARK = r"!-&(-/:-@\[-`{-~"

# The classes are spelled out because \w, \s and \b mean other things in RE2, the engine of
# TensorFlow, than in Python. So both cut a text at the same places.
PATTERN = f"(?: ?[^{_SPACE}{_MARK}]+| ?[{_MARK}]|[{_SPACE}])"

WORD = re.compile(PATTERN)

# A piece can have these at its beginning alone: before them a text may be cut without cutting a piece.
SPACES = " \t\n\r\f\v"
