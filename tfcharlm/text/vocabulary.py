"""Text to integer ids and back, without loss, at the level of characters, bytes or words.

A vocabulary is a value: two with the same tokens in the same order are equal, and the fingerprint
of their JSON says so across machines. `codec.GraphCodec` does the same inside a TensorFlow graph.
"""

import dataclasses
import functools
import hashlib
import itertools
import json

import numpy as np

from tfcharlm.text.checks import UnknownTokenError, check_level, check_surrogates, check_tokens, describe_character
from tfcharlm.text.counting import distinct_tokens
from tfcharlm.text.words import WORD

# Characters that are looked up at a time.
CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True, repr=False)
class Vocabulary:
    """An ordered set of tokens; the id of a token is its index.

    Args:
        tokens: the tokens in the order of their ids, each once. "char": single code points. "byte":
            `chr(0)` to `chr(255)`, each standing for the byte of that value. "word": the pieces
            that `words.py` describes.
        level: "char" (default: a small alphabet, every text can be spelled), "byte" (256 ids;
            nothing is ever unknown) or "word" (short sequences, many ids; a word that is no token is
            spelled with characters that are).

    Raises:
        ValueError: no tokens, a token twice, a token that the level cannot have, an unknown level.

    Example:

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

    tokens: tuple[str, ...]
    level: str = "char"

    def __post_init__(self):
        object.__setattr__(self, "tokens", tuple(self.tokens))
        check_level(self.level)
        if not self.tokens:
            raise ValueError("a vocabulary needs at least one token; received none")
        check_tokens(self.tokens, self.level)

    @classmethod
    def from_text(cls, text, level="char", min_count=1):
        """The vocabulary of `text`: its distinct tokens, sorted by code point.

        Args:
            text: str, at least one character; or its parts in order, strings between which no word is
                cut, as `read_chunks` gives them. At level "byte" the content does not matter.
            level: "char", "byte" or "word".
            min_count: of level "word": how often a word must occur to be a token. 1 (default): every
                word is one, and a text with another word is refused, unless that consists of words of
                one character. With 2 or more the characters of the text are tokens too, and all
                other words are spelled: a model learns to write words that it has never seen, and
                to read them.

        Returns:
            A `Vocabulary`; the same for every text with the same tokens.

        Raises:
            ValueError: no text, an unknown level, or `min_count` at another level than "word".

        Example:

        >>> vocabulary = Vocabulary.from_text("to be, or not to be, to sleep", level="word", min_count=2)
        >>> [vocabulary.tokens[i] for i in vocabulary.encode(" to be to")]
        [' to', ' be', ' to']
        >>> [vocabulary.tokens[i] for i in vocabulary.encode(" to bleep")]
        [' to', ' ', 'b', 'l', 'e', 'e', 'p']
        """
        return cls(distinct_tokens(text, level, min_count), level)

    def __len__(self):
        return len(self.tokens)

    def __repr__(self):
        return f"Vocabulary(level={self.level!r}, size={len(self)}, fingerprint={self.fingerprint[:8]!r})"

    def encode(self, text, errors="strict"):
        """The ids of `text`.

        Args:
            text: str; empty is allowed.
            errors: "strict" (default: a model knows nothing about an id that it never saw) or
                "ignore", which drops what is unknown, as in `str.encode`.

        Returns:
            int32 array (length,).

        Raises:
            ValueError: something in the text is not in the vocabulary; it is named with its position.
        """
        if errors not in ("strict", "ignore"):
            raise ValueError(f'errors must be "strict" or "ignore"; received {errors!r}')
        if not isinstance(text, str):
            raise ValueError(f"encode expects a str; received {type(text).__name__}")
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

    def decode(self, ids):
        """The text of `ids`: `decode(encode(text)) == text`.

        Args:
            ids: integers (length,), each in [0, len(self)).

        Returns:
            str. At level "byte", bytes that are not UTF-8 become U+FFFD.

        Raises:
            ValueError: not a flat sequence of integers, or an id out of range.
        """
        ids = np.asarray(ids)
        if ids.ndim != 1 or (ids.size and not np.issubdtype(ids.dtype, np.integer)):
            raise ValueError(f"ids must be integers (length,); received {ids.dtype} {ids.shape}")
        wrong = (ids < 0) | (ids >= len(self))
        if wrong.any():
            position = int(wrong.argmax())
            raise ValueError(f"ids must be in [0, {len(self)}); received {ids[position]} at position {position}")
        if self.level == "byte":
            return ids.astype(np.uint8).tobytes().decode("utf-8", "replace")
        return "".join(map(self.tokens.__getitem__, ids.tolist()))

    def get_config(self):
        """The vocabulary as plain data: `{"level": str, "tokens": list of str}`."""
        return {"level": self.level, "tokens": list(self.tokens)}

    @classmethod
    def from_config(cls, config):
        """The vocabulary of `get_config`; a missing or an unknown key is a ValueError."""
        if not isinstance(config, dict) or set(config) != {"level", "tokens"}:
            got = sorted(config) if isinstance(config, dict) else type(config).__name__
            raise ValueError(f"a vocabulary has exactly the keys level and tokens; received {got}")
        return cls(**config)

    def to_json(self):
        """Canonical JSON: equal vocabularies give equal bytes, in ASCII."""
        return json.dumps(self.get_config(), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text):
        """The vocabulary of `to_json`."""
        return cls.from_config(json.loads(text))

    @property
    def fingerprint(self):
        """SHA-256 of the canonical JSON in hexadecimal: tokens, order and level."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @functools.cached_property
    def line_start(self):
        """The ids that a model reads before every text: that of the newline, or none if it is not a token.

        Reading a newline first gives the first character a distribution, so that the scores of all strings add up to
        1, and `generate`, `score` and `next_token_probabilities` agree.
        """
        return tuple(self.encode("\n", errors="ignore").tolist())

    @functools.cached_property
    def characters_per_token(self):
        """How many characters each token stands for, a tuple of floats (len(self),).

        A byte counts as a character unless it continues one (10xxxxxx in UTF-8).
        """
        if self.level == "byte":
            return tuple(float(not 0x80 <= byte < 0xC0) for byte in range(256))
        return tuple(float(len(token)) for token in self.tokens)

    @functools.cached_property
    def _id_of_token(self):
        return {token: i for i, token in enumerate(self.tokens)}

    @functools.cached_property
    def _id_of_code_point(self):
        code_points = [ord(token) for token in self.tokens]
        # One entry more than the greatest code point needs: all greater ones are looked up there.
        table = np.full(max(code_points) + 2, -1, np.int32)
        table[code_points] = np.arange(len(self))
        return table

    def _encode_char(self, text):
        table = self._id_of_code_point
        ids = np.empty(len(text), np.int32)
        # In parts: the code points of a whole text would take as much memory as its ids, and more than once.
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
        """The ids of a word: its own, or those of its characters; one -1 if it has none."""
        ids = self._id_of_token
        if piece in ids:
            return [ids[piece]]
        spelled = [ids.get(character, -1) for character in piece]
        return [-1] if -1 in spelled else spelled

    def _unknown(self, text, index):
        """The error about the first unknown token of a text, whose index among the ids is `index`."""
        if self.level == "char":
            return UnknownTokenError(describe_character(text[index]), text, index, len(self))
        match = next(match for match in WORD.finditer(text) if self._spell(match.group()) == [-1])
        return UnknownTokenError(f"word {match.group()!r}", text, match.start(), len(self))
