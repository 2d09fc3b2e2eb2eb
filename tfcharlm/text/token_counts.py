"""Counting the tokens of a text of any size, part by part."""

import collections

import numpy as np

from tfcharlm.text.words import WORD


class TokenCounter:
    """How often each token occurs in the parts of a text.

    Args:
        level: "char", "byte" or "word".

    Example:

    >>> from tfcharlm.text.token_counts import TokenCounter
    >>> counter = TokenCounter("char")
    >>> counter.add("to be")
    >>> counter.counts()
    {' ': 1, 'b': 1, 'e': 1, 'o': 1, 't': 1}
    """

    def __init__(self, level: str) -> None:
        self.level = level
        self._code_points = np.zeros(128, np.int64)
        self._words: collections.Counter[str] = collections.Counter()

    def add(self, part: str) -> None:
        """Counts the tokens of a part. No word may be cut between parts."""
        if self.level == "word":
            self._words.update(WORD.findall(part))
        elif self.level == "char":
            values = part.encode("utf-32-le") if not part.isascii() else part.encode("ascii")
            counts = np.bincount(np.frombuffer(values, np.uint8 if part.isascii() else "<u4"))
            if len(counts) > len(self._code_points):
                self._code_points = np.pad(self._code_points, (0, len(counts) - len(self._code_points)))
            self._code_points[: len(counts)] += counts

    def add_token(self, token: str, times: int) -> None:
        """Counts a token that is not in a part."""
        if self.level == "word" and times:
            self._words[token] += times
        elif self.level == "char" and times:
            counts = np.zeros(max(ord(token) + 1, len(self._code_points)), np.int64)
            counts[: len(self._code_points)] = self._code_points
            counts[ord(token)] += times
            self._code_points = counts

    def counts(self) -> dict[str, int]:
        """The counts by token, sorted by token. At level "byte" there are none: its tokens are always the same."""
        if self.level == "word":
            return dict(sorted(self._words.items()))
        return {chr(i): int(self._code_points[i]) for i in np.flatnonzero(self._code_points).tolist()}
