"""Text to integer ids and back, without loss, at the level of characters, bytes or words.

A vocabulary is a value: two vocabularies with the same level and the same tokens in the same order are equal, and have
the same fingerprint on every machine. `codec.GraphCodec` encodes and decodes inside a TensorFlow graph.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tfcharlm.text.checks import check_level, check_surrogates, check_tokens
from tfcharlm.text.counting import distinct_tokens
from tfcharlm.text.spelling import DIGITS, FIRST_DIGITS, Spelling
from tfcharlm.text.token_ids import TokenIds


@dataclasses.dataclass(frozen=True, repr=False)
class Vocabulary:
    """An ordered set of tokens; the id of a token is its index.

    Args:
        tokens: the tokens in the order of their ids, all distinct; kept as a tuple. "char": single code points. "byte":
            `chr(0)` to `chr(255)`, each for the byte of that value. "word": the pieces that `words.py` describes. If
            the last tokens of "char" and "word" are the hexadecimal digits in `spelling.py`, a character that is not a
            token is spelled with them, so that no text is refused.
        level: "char" (default) has few ids. "byte" has 256 ids, and nothing is ever unknown. "word" has many ids and
            short sequences; a word that is not a token is spelled with its characters.

    Raises:
        ValueError: there are no tokens, a token occurs twice or is not allowed at this level, or the level is unknown.

    Example:

    >>> from tfcharlm.text import Vocabulary
    >>> vocabulary = Vocabulary.from_text("to be, or not to be")
    >>> vocabulary.tokens[:8], len(vocabulary)
    ((' ', ',', 'b', 'e', 'n', 'o', 'r', 't'), 36)
    >>> vocabulary.encode("bee")
    array([2, 3, 3], dtype=int32)
    >>> vocabulary.encode("é"), vocabulary.decode([16, 23, 30, 29])
    (array([16, 23, 30, 29], dtype=int32), 'é')
    >>> Vocabulary.from_text("to be, or not to be", level="word", spell=False).tokens
    (' be', ' not', ' or', ' to', ',', 'to')
    """

    tokens: Sequence[str]
    level: str = "char"

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", tuple(self.tokens))
        check_level(self.level)
        if not self.tokens:
            raise ValueError("tokens must be at least one token; received none.")
        check_tokens(self.tokens, self.level)

    @classmethod
    def from_text(
        cls, text: str | Iterable[str], level: str = "char", min_count: int | None = None, spell: bool = True
    ) -> "Vocabulary":
        """The vocabulary of `text`: its distinct tokens, sorted by code point, and the digits to spell all others.

        Args:
            text: str, at least one character. Or an iterable over its parts, such as `read_chunks`, that does not cut
                words. At level "byte" the content does not matter.
            level: "char" (default), "byte" or "word".
            min_count: how often a character (at level "word": a word) must occur to be a token. None (default) is 1,
                except for the characters of a text with more than 512 different ones, as in Chinese; those must occur
                three times. Any other character is spelled with the digits of its bytes. Any other word is spelled
                with its characters. A model then learns to read and write words that it has never seen.
            spell: True (default) adds 28 tokens, the hexadecimal digits that spell any character. False has exactly the
                tokens of the text, and `encode` rejects a text with another one. At level "word", the characters of
                the text are then tokens only if `min_count` is 2 or more.

        Returns:
            A `Vocabulary`. It is the same for every text with the same tokens.

        Raises:
            ValueError: the text is empty, the level is unknown, or `min_count` is not 1 where nothing is spelled.

        Example:

        >>> from tfcharlm.text import Vocabulary
        >>> vocabulary = Vocabulary.from_text("to be, or not to be, to sleep", level="word", min_count=2)
        >>> [vocabulary.tokens[i] for i in vocabulary.encode(" to be to")]
        [' to', ' be', ' to']
        >>> [vocabulary.tokens[i] for i in vocabulary.encode(" to bé")]
        [' to', ' ', 'b', '<0xC>', '<3>', '<A>', '<9>']
        """
        return cls(distinct_tokens(text, level, min_count, spell), level)

    def __len__(self) -> int:
        return len(self.tokens)

    def __repr__(self) -> str:
        return f"Vocabulary(level={self.level!r}, size={len(self)}, fingerprint={self.fingerprint[:8]!r})"

    def encode(self, text: str, errors: str = "strict") -> np.ndarray:
        """The ids of `text`.

        Args:
            text: str; it may be empty.
            errors: for vocabularies that do not spell. "strict" (default) raises for a token that is not in the
                vocabulary, because a model knows nothing about it. "ignore" drops the token, as `str.encode` does.

        Returns:
            int32 array (length,).

        Raises:
            ValueError: a token is not in the vocabulary and cannot be spelled, or a character is half of a surrogate
                pair; the error names it and its position.

        Example:

        >>> from tfcharlm.text import Vocabulary
        >>> Vocabulary(" beot").encode("boot!", errors="ignore")
        array([1, 3, 3, 4], dtype=int32)
        """
        if errors not in ("strict", "ignore"):
            raise ValueError(f'errors must be "strict" or "ignore"; received {errors!r}.')
        if not isinstance(text, str):
            raise ValueError(f"text must be a str; received {type(text).__name__}.")
        if errors == "ignore":
            text = text.encode("utf-8", "ignore").decode()
        check_surrogates(text)
        ids = self._ids.encode(text)
        unknown = ids < 0
        if not unknown.any():
            return ids
        if errors == "strict":
            raise self._ids.unknown(text, int(unknown.argmax()))
        return ids[~unknown]

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of `ids`: `decode(encode(text)) == text`.

        Args:
            ids: integers (length,), each in [0, len(self)).

        Returns:
            str. What is not a whole character of UTF-8, in bytes or digits, becomes U+FFFD.

        Raises:
            ValueError: the ids are not a flat sequence of integers, or an id is out of range.
        """
        ids = np.asarray(ids)
        if ids.ndim != 1 or (ids.size and not np.issubdtype(ids.dtype, np.integer)):
            raise ValueError(f"ids must be integers (length,); received {ids.dtype} {ids.shape}.")
        wrong = (ids < 0) | (ids >= len(self))
        if wrong.any():
            position = int(wrong.argmax())
            raise ValueError(f"ids must be from 0 to {len(self) - 1}; received {ids[position]} at position {position}.")
        return self._ids.decode(ids)

    def joined(self, other: "Vocabulary") -> "Vocabulary":
        """The tokens of this vocabulary in their order, then those of another one that it does not have.

        The digits that spell are the last tokens, whichever of the two has them.

        Args:
            other: a `Vocabulary` of the same level.

        Returns:
            A `Vocabulary`; this one if the other one has no other tokens.

        Example:

        >>> from tfcharlm.text import Vocabulary
        >>> Vocabulary("cab").joined(Vocabulary("bead")).tokens
        ('c', 'a', 'b', 'e', 'd')
        """
        tokens = tuple(dict.fromkeys((*self.tokens, *other.tokens)))
        if len(tokens) == len(self):
            return self
        digits = [token for token in tokens if token in DIGITS]
        return Vocabulary([*(token for token in tokens if token not in DIGITS), *digits], self.level)

    def get_config(self) -> dict[str, Any]:
        """The vocabulary as plain data: `{"level": str, "tokens": list of str}`."""
        return {"level": self.level, "tokens": list(self.tokens)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Vocabulary":
        """The vocabulary from a dictionary of `get_config`. A missing or an unknown key is a ValueError."""
        if not isinstance(config, dict) or set(config) != {"level", "tokens"}:
            got = sorted(config) if isinstance(config, dict) else type(config).__name__
            raise ValueError(f"the config of a vocabulary must have exactly the keys level and tokens; received {got}.")
        return cls(**config)

    def to_json(self) -> str:
        """Canonical JSON in ASCII: equal vocabularies have equal JSON."""
        return json.dumps(self.get_config(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Vocabulary":
        """The vocabulary from the JSON of `to_json`."""
        return cls.from_config(json.loads(text))

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the canonical JSON, in hexadecimal. It identifies the tokens, their order and the level."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @functools.cached_property
    def line_start(self) -> tuple[int, ...]:
        """The ids that a model reads before every text: the id of the newline, or none if it is not a token.

        Because of the newline, the first character has a probability, too. The probabilities of all strings of one
        length then add up to 1, and `generate`, `score` and `next_token_probabilities` agree.
        """
        return tuple(self.encode("\n").tolist()) if "\n" in self.tokens or self.level == "byte" else ()

    @functools.cached_property
    def characters_per_token(self) -> tuple[float, ...]:
        """The number of characters of each token, a tuple of floats (len(self),).

        A byte counts as a character unless it continues one (10xxxxxx in UTF-8). Of the digits that spell a character,
        the first one counts.
        """
        if self.level == "byte":
            return tuple(float(not 0x80 <= byte < 0xC0) for byte in range(256))
        counts = {digit: float(digit in FIRST_DIGITS) for digit in DIGITS} if self.spelling else {}
        return tuple(counts.get(token, float(len(token))) for token in self.tokens)

    @functools.cached_property
    def spelling(self) -> Spelling | None:
        """How characters that are not tokens are spelled; None if they are not, and a text with one is refused."""
        if not self._ids.spells:
            return None
        return Spelling(token for token in self.tokens[: self._ids.first_digit] if len(token) == 1)

    @functools.cached_property
    def _ids(self) -> TokenIds:
        return TokenIds(self.tokens, self.level)
