"""Cuts a text into pieces: words, punctuation marks and white space. The joined pieces are the text.

A word includes the space before it (`" word"`, as in GPT-2) and keeps its apostrophes. A punctuation mark is a piece,
also with the space before it. Any other ASCII white space is a piece of its own. Characters outside ASCII belong to
words.

A word that is not in the vocabulary is spelled: it is replaced by its characters, if all of them are tokens. Rare words
are therefore never lost, and there is no symbol for everything unknown. The price is that a text can be written in more
than one way. The probability that a model assigns to the one way that `encode` chooses is a lower bound of the
probability of the text.

With `min_count=1` the only characters in a vocabulary are those that are words. A model may then write a text that
cannot be encoded again, because two of its words without a space between them form another word.
"""

import re

_SPACE = r" \t\n\r\f\v"
_MARK = r"!-&(-/:-@\[-`{-~"

# The classes are spelled out because \w, \s and \b mean different things in Python and in RE2, the engine of
# TensorFlow. This way both cut a text at the same positions.
PATTERN = f"(?: ?[^{_SPACE}{_MARK}]+| ?[{_MARK}]|[{_SPACE}])"

WORD = re.compile(PATTERN)

# A piece can have these characters only at its start, so a text may be cut before them without cutting a piece.
SPACES = " \t\n\r\f\v"
