"""Counts the tokens of a text, and chooses those of a vocabulary."""

import collections
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from tfcharlm.checks import POSITIVE_INTEGER
from tfcharlm.text.checks import BYTES, check_level, check_surrogates
from tfcharlm.text.spelling import DIGITS
from tfcharlm.text.words import WORD

# Number of characters that are counted at a time.
CHUNK = 1 << 20
# A newline ends a line, and U+001E an item that has newlines.
ENDS = "\n\x1e"
# An alphabet is a few hundred characters at most. In a larger set, as of Chinese characters, many are rare, and a
# character that was seen once or twice cannot be learned.
LARGEST_ALPHABET, MIN_COUNT_OF_MANY = 512, 3


class TokenCounter:
    """How often the characters, and at level "word" the words, of a text occur.

    Args:
        level: "char", "byte" or "word".

    Example:

    >>> from tfcharlm.text.counting import TokenCounter
    >>> counter = TokenCounter("char")
    >>> for part in ("to be", " or not"):
    ...     counter.add(part)
    >>> counter.tokens(min_count=2)[:4]
    [' ', 'o', 't', '<0x0>']
    """

    def __init__(self, level: str) -> None:
        check_level(level)
        self.level = level
        self._characters = np.zeros(0, np.int64)
        self._words: collections.Counter[str] = collections.Counter()

    def add(self, part: str) -> None:
        """Counts a part of the text that does not cut words."""
        check_surrogates(part)
        for begin in range(0, len(part), CHUNK):
            text = part[begin : begin + CHUNK]
            values = text.encode("ascii") if text.isascii() else text.encode("utf-32-le")
            code_points = np.frombuffer(values, np.uint8 if text.isascii() else "<u4")
            counts = np.bincount(code_points, minlength=len(self._characters))
            counts[: len(self._characters)] += self._characters
            self._characters = counts
        if self.level == "word":
            self._words.update(WORD.findall(part))

    def add_token(self, token: str, times: int) -> None:
        """Counts a character that is not in a part, such as the end of an item."""
        counts = np.bincount([ord(token)], minlength=len(self._characters))
        counts = counts * times
        counts[: len(self._characters)] += self._characters
        self._characters = counts
        if self.level == "word" and times:
            self._words[token] += times

    def tokens(self, min_count: int | None = None, spell: bool = True) -> Sequence[str]:
        """The tokens of a vocabulary; the arguments are those of `Vocabulary.from_text`."""
        given = min_count is not None
        min_count = POSITIVE_INTEGER.check("min_count", min_count) if given else 1
        if not self._characters.any():
            raise ValueError("text must be a str with at least one character; received an empty text.")
        if min_count != 1 and (self.level == "byte" or (self.level == "char" and not spell)):
            raise ValueError(
                f"min_count must be 1 where nothing is spelled; received {min_count} at level {self.level!r}"
                f"{'' if self.level == 'byte' else ' with spell=False'}."
            )
        if self.level == "byte":
            return BYTES
        # The characters of words are those of a text in one script, however rare the words are.
        at_least = min_count if given and self.level == "char" else self._min_count_of_characters() if spell else 1
        # What ends a line or an item is never spelled.
        characters = {
            chr(code)
            for code in np.flatnonzero(self._characters)
            if self._characters[code] >= at_least or chr(code) in ENDS
        }
        words = {word for word, count in self._words.items() if count >= min_count}
        if self.level == "word" and not spell and min_count == 1:
            characters = set()
        return [*sorted(words | characters), *(DIGITS if spell else ())]

    def _min_count_of_characters(self):
        return 1 if np.count_nonzero(self._characters) <= LARGEST_ALPHABET else MIN_COUNT_OF_MANY


def distinct_tokens(text: str | Iterable[str], level: str, min_count: int | None, spell: bool) -> Sequence[str]:
    """The tokens of a vocabulary. The arguments are those of `Vocabulary.from_text`."""
    counter = TokenCounter(level)
    for part in _parts(text):
        counter.add(part)
    return counter.tokens(min_count, spell)


def _parts(text: str | Iterable[str]) -> Iterator[str]:
    """A text, or its parts, as an iterator over strings."""
    parts = text if isinstance(text, Iterable) and not isinstance(text, str) else [text]
    for part in parts:
        if not isinstance(part, str):
            raise ValueError(f"text must be a str, or an iterable of str; received {part!r:.40}.")
        yield part
