"""Text to integer ids and back, without loss, at the level of characters, bytes or words.

A vocabulary is a value: two vocabularies with the same level and the same tokens in the same order are equal, and have
the same fingerprint on every machine. `codec.GraphCodec` encodes and decodes inside a TensorFlow graph.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tfcharlm.text.checks import UnknownTokenError, check_level, check_surrogates, check_tokens, describe_character
from tfcharlm.text.counting import distinct_tokens
from tfcharlm.text.words import WORD

# Number of characters that are looked up at a time.
CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True, repr=False)
class Vocabulary:
    """An ordered set of tokens; the id of a token is its index.

    Args:
        tokens: the tokens in the order of their ids, all distinct; kept as a tuple. "char": single code points. "byte":
            `chr(0)` to `chr(255)`, each for the byte of that value. "word": the pieces that `words.py` describes.
        level: "char" (default) has few ids, and can spell every text with its characters. "byte" has 256 ids, and
            nothing is ever unknown. "word" has many ids and short sequences; a word that is not a token is spelled
            with the characters that are tokens.

    Raises:
        ValueError: there are no tokens, a token occurs twice or is not allowed at this level, or the level is unknown.

    Example:

    >>> from tfcharlm.text import Vocabulary
    >>> vocabulary = Vocabulary.from_text("to be, or not to be")
    >>> vocabulary
    Vocabulary(level='char', size=8, fingerprint='269934f6')
    >>> vocabulary.encode("bee")
    array([2, 3, 3], dtype=int32)
    >>> vocabulary.decode([2, 3, 3])
    'bee'
    >>> Vocabulary.from_text("to be, or not to be", level="word").tokens
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
    def from_text(cls, text: str | Iterable[str], level: str = "char", min_count: int = 1) -> "Vocabulary":
        """The vocabulary of `text`: its distinct tokens, sorted by code point.

        Args:
            text: str, at least one character. Or an iterable over its parts, such as `read_chunks`, that does not cut
                words. At level "byte" the content does not matter.
            level: "char" (default), "byte" or "word".
            min_count: at level "word", how often a word must occur to be a token. With 1 (default) every word is a
                token. `encode` then rejects any other word, unless it consists of words of one character. With 2 or
                more, the characters of the text are tokens, too, and all other words are spelled. A model then learns
                to read and write words that it has never seen.

        Returns:
            A `Vocabulary`. It is the same for every text with the same tokens.

        Raises:
            ValueError: the text is empty, the level is unknown, or `min_count` is not 1 at another level than "word".

        Example:

        >>> from tfcharlm.text import Vocabulary
        >>> vocabulary = Vocabulary.from_text("to be, or not to be, to sleep", level="word", min_count=2)
        >>> [vocabulary.tokens[i] for i in vocabulary.encode(" to be to")]
        [' to', ' be', ' to']
        >>> [vocabulary.tokens[i] for i in vocabulary.encode(" to bleep")]
        [' to', ' ', 'b', 'l', 'e', 'e', 'p']
        """
        return cls(distinct_tokens(text, level, min_count), level)

    def __len__(self) -> int:
        return len(self.tokens)

    def __repr__(self) -> str:
        return f"Vocabulary(level={self.level!r}, size={len(self)}, fingerprint={self.fingerprint[:8]!r})"

    def encode(self, text: str, errors: str = "strict") -> np.ndarray:
        """The ids of `text`.

        Args:
            text: str; it may be empty.
            errors: "strict" (default) raises for a token that is not in the vocabulary, because a model knows nothing
                about it. "ignore" drops the token, as `str.encode` does.

        Returns:
            int32 array (length,).

        Raises:
            ValueError: a token is not in the vocabulary; the error names it and its position.

        Example:

        >>> from tfcharlm.text import Vocabulary
        >>> Vocabulary.from_text("to be").encode("boot!", errors="ignore")
        array([1, 3, 3, 4], dtype=int32)
        """
        if errors not in ("strict", "ignore"):
            raise ValueError(f'errors must be "strict" or "ignore"; received {errors!r}.')
        if not isinstance(text, str):
            raise ValueError(f"text must be a str; received {type(text).__name__}.")
        if errors == "ignore":
            text = text.encode("utf-8", "ignore").decode()
        check_surrogates(text)
        ids = getattr(self, f"_encode_{self.level}")(text)
        unknown = ids < 0
        if not unknown.any():
            return ids
        if errors == "strict":
            raise self._unknown(text, int(unknown.argmax()))
        return ids[~unknown]

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text of `ids`: `decode(encode(text)) == text`.

        Args:
            ids: integers (length,), each in [0, len(self)).

        Returns:
            str. At level "byte", bytes that are not UTF-8 become U+FFFD.

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
        if self.level == "byte":
            return ids.astype(np.uint8).tobytes().decode("utf-8", "replace")
        if self.level == "char":
            return self._code_points[ids.astype(np.int32)].tobytes().decode("utf-32-le")
        return "".join(map(self.tokens.__getitem__, ids.tolist()))

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
        return tuple(self.encode("\n", errors="ignore").tolist())

    @functools.cached_property
    def characters_per_token(self) -> tuple[float, ...]:
        """The number of characters of each token, a tuple of floats (len(self),).

        A byte counts as a character unless it continues one (10xxxxxx in UTF-8).
        """
        if self.level == "byte":
            return tuple(float(not 0x80 <= byte < 0xC0) for byte in range(256))
        return tuple(float(len(token)) for token in self.tokens)

    @functools.cached_property
    def _id_of_token(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens)}

    @functools.cached_property
    def _id_of_code_point(self) -> np.ndarray:
        # The last entry is for all code points above the greatest token.
        table = np.full(int(self._code_points.max()) + 2, -1, np.int32)
        table[self._code_points] = np.arange(len(self))
        return table

    @functools.cached_property
    def _code_points(self) -> np.ndarray:
        return np.array([ord(token) for token in self.tokens], "<u4")

    def _encode_char(self, text):
        table = self._id_of_code_point
        ids = np.empty(len(text), np.int32)
        # In parts: the code points of a whole text would take several times the memory of its ids.
        for begin in range(0, len(text), CHUNK):
            code_points = np.frombuffer(text[begin : begin + CHUNK].encode("utf-32-le"), "<u4")
            ids[begin : begin + CHUNK] = table[np.minimum(code_points, len(table) - 1)]
        return ids

    def _encode_byte(self, text):
        return np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int32)

    def _encode_word(self, text):
        pieces = WORD.findall(text)
        ids = {piece: self._spell(piece) for piece in set(pieces)}
        return np.fromiter(itertools.chain.from_iterable(map(ids.__getitem__, pieces)), np.int32)

    def _spell(self, piece):
        """The id of a word, or else the ids of its characters, or else -1 alone."""
        ids = self._id_of_token
        if piece in ids:
            return [ids[piece]]
        spelled = [ids.get(character, -1) for character in piece]
        return [-1] if -1 in spelled else spelled

    def _unknown(self, text, index):
        """The error about the first unknown token of a text. Its index among the ids is `index`."""
        if self.level == "char":
            return UnknownTokenError(describe_character(text[index]), text, index, len(self))
        match = next(match for match in WORD.finditer(text) if self._spell(match.group()) == [-1])
        return UnknownTokenError(f"word {match.group()!r}", text, match.start(), len(self))
