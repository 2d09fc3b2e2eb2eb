"""The ids of the characters, bytes or words of a text, and the text of ids."""

import functools
import itertools
from collections.abc import Sequence

import numpy as np

from tfcharlm.text.checks import UnknownTokenError, describe_character
from tfcharlm.text.spelling import DIGITS, spelled, text_of_digits
from tfcharlm.text.words import WORD

# Number of characters that are looked up at a time.
CHUNK = 1 << 20


class TokenIds:
    """Looks up the tokens of a vocabulary.

    Args:
        tokens: the tokens, in the order of their ids. If the last ones are `DIGITS`, other characters are spelled.
        level: "char", "byte" or "word".

    Example:

    >>> from tfcharlm.text.token_ids import TokenIds
    >>> TokenIds(["a", "b"], "char").encode("abba").tolist()
    [0, 1, 1, 0]
    """

    def __init__(self, tokens: Sequence[str], level: str) -> None:
        self.tokens, self.level = tokens, level
        self.spells = tuple(tokens[-len(DIGITS) :]) == DIGITS
        # The number of tokens without the digits, and so the id of the first digit.
        self.first_digit = len(tokens) - len(DIGITS) * self.spells

    def encode(self, text: str) -> np.ndarray:
        """The ids of a text, int32 (length,), with -1 for what is not a token and cannot be spelled."""
        if self.level == "byte":
            return np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int32)
        if self.level == "word":
            pieces = WORD.findall(text)
            ids = {piece: self._of_word(piece) for piece in set(pieces)}
            return np.fromiter(itertools.chain.from_iterable(map(ids.__getitem__, pieces)), np.int32)
        # In parts: the code points of a whole text would take several times the memory of its ids.
        parts = (self._of_characters(text[begin : begin + CHUNK]) for begin in range(0, len(text), CHUNK))
        return np.concatenate([np.zeros(0, np.int32), *parts])

    def decode(self, ids: np.ndarray) -> str:
        """The text of ids, integers (length,), each of them an id of a token."""
        if self.level == "byte":
            return ids.astype(np.uint8).tobytes().decode("utf-8", "replace")
        is_digit = ids >= self.first_digit
        if not is_digit.any():
            return self._plain(ids)
        ends = [*np.flatnonzero(np.diff(is_digit)) + 1, len(ids)]
        runs = [ids[begin:end] for begin, end in itertools.pairwise([0, *ends])]
        return "".join(
            text_of_digits((run - self.first_digit).tolist()) if run[0] >= self.first_digit else self._plain(run)
            for run in runs
        )

    def unknown(self, text: str, index: int) -> UnknownTokenError:
        """The error about the first unknown token of a text. Its index among the ids is `index`."""
        if self.level == "char":
            return UnknownTokenError(describe_character(text[index]), text, index, len(self.tokens))
        match = next(match for match in WORD.finditer(text) if self._of_word(match.group()) == [-1])
        return UnknownTokenError(f"word {match.group()!r}", text, match.start(), len(self.tokens))

    def _plain(self, ids):
        if self.level == "char":
            return self._code_points[ids.astype(np.int32)].tobytes().decode("utf-32-le")
        return "".join(map(self.tokens.__getitem__, ids.tolist()))

    def _of_characters(self, text):
        table = self._of_code_point
        code_points = np.frombuffer(text.encode("utf-32-le"), "<u4")
        ids = table[np.minimum(code_points, len(table) - 1)]
        return self._with_spellings(text, ids) if self.spells and ids.size and ids.min() < 0 else ids

    def _with_spellings(self, text, ids):
        """The ids of characters, with the digits of those whose id is -1."""
        unknown = np.flatnonzero(ids < 0)
        digits = {character: self._digits(character) for character in {text[i] for i in unknown}}
        counts = np.ones(len(ids), np.int64)
        counts[unknown] = [len(digits[text[i]]) for i in unknown]
        ends = np.cumsum(counts)
        result = np.empty(ends[-1], np.int32)
        known = ids >= 0
        result[ends[known] - 1] = ids[known]
        for i in unknown:
            result[ends[i] - counts[i] : ends[i]] = digits[text[i]]
        return result

    def _of_word(self, piece):
        """The id of a word, or else the ids of its characters, or else -1 alone."""
        ids = self._of_token
        if piece in ids:
            return [ids[piece]]
        parts = [[ids[c]] if c in ids else self._digits(c) for c in piece]
        return [-1] if [-1] in parts else list(itertools.chain.from_iterable(parts))

    def _digits(self, character):
        return [self.first_digit + digit for digit in spelled(character)] if self.spells else [-1]

    @functools.cached_property
    def _of_token(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens)}

    @functools.cached_property
    def _of_code_point(self) -> np.ndarray:
        # The last entry is for all code points above the greatest token.
        table = np.full(int(self._code_points.max(initial=0)) + 2, -1, np.int32)
        table[self._code_points] = np.arange(self.first_digit)
        return table

    @functools.cached_property
    def _code_points(self) -> np.ndarray:
        return np.array([ord(token) for token in self.tokens[: self.first_digit]], "<u4")
