"""Text to integer ids and back, without loss, at the level of characters, bytes or words.

A vocabulary is a value: two with the same tokens in the same order are equal, and the fingerprint
of their JSON says so across machines. `codec.GraphCodec` does the same inside a TensorFlow graph.
"""

import dataclasses
import functools
import hashlib
import json

import numpy as np

from tfcharlm.text.words import WORD

LEVELS = ("char", "byte", "word")


class UnknownTokenError(ValueError):
    """A text has something that the vocabulary does not have; `what` names it and its place."""

    def __init__(self, what):
        super().__init__(f'{what}; type errors="ignore" to drop it, or Vocabulary.from_text with a text that has it')
        self.what = what


@dataclasses.dataclass(frozen=True, repr=False)
class Vocabulary:
    """An ordered set of tokens; the id of a token is its place.

    Args:
        tokens: the tokens in the order of their ids, each once. "char": single code points. "byte":
            `chr(0)` to `chr(255)`, each standing for the byte of that value. "word": the pieces
            that `words.py` describes.
        level: "char" (default: a small alphabet, every text can be spelled), "byte" (256 ids;
            nothing is ever unknown) or "word" (short sequences, many ids).

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
        if self.level not in LEVELS:
            raise ValueError(f"level must be one of {', '.join(LEVELS)}; got {self.level!r}")
        if not self.tokens:
            raise ValueError("a vocabulary needs at least one token; got none")
        _check_tokens(self.tokens, self.level)

    @classmethod
    def from_text(cls, text, level="char"):
        """The vocabulary of `text`: its distinct tokens, sorted by code point.

        Args:
            text: str, at least one character. At level "byte" its content does not matter.
            level: "char", "byte" or "word".

        Returns:
            A `Vocabulary`; the same for every text with the same set of tokens.
        """
        if not isinstance(text, str) or not text:
            raise ValueError(f"a vocabulary is made of a text with characters; got {text!r:.40}")
        _check_surrogates(text)
        if level == "byte":
            return cls(_BYTES, level)
        return cls(sorted(set(WORD.findall(text) if level == "word" else text)), level)

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
            ValueError: something in the text is not in the vocabulary; it is named with its place.
        """
        if errors not in ("strict", "ignore"):
            raise ValueError(f'errors must be "strict" or "ignore"; got {errors!r}')
        if not isinstance(text, str):
            raise ValueError(f"encode expects a str; got {type(text).__name__}")
        if errors == "ignore":
            text = text.encode("utf-8", "ignore").decode()
        _check_surrogates(text)
        ids = getattr(self, f"_encode_{self.level}")(text)
        unknown = ids < 0
        if not unknown.any():
            return ids
        if errors == "strict":
            raise UnknownTokenError(self._describe_unknown(text, int(unknown.argmax())))
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
            raise ValueError(f"ids must be integers (length,); got {ids.dtype} {ids.shape}")
        wrong = (ids < 0) | (ids >= len(self))
        if wrong.any():
            place = int(wrong.argmax())
            raise ValueError(f"ids must be in [0, {len(self)}); got {ids[place]} at place {place}")
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
            raise ValueError(f"a vocabulary has exactly the keys level and tokens; got {got}")
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
    def _id_of_token(self):
        return {token: i for i, token in enumerate(self.tokens)}

    @functools.cached_property
    def _id_of_code_point(self):
        code_points = [ord(token) for token in self.tokens]
        # One place more than the greatest code point needs: all that lie above are looked up there.
        table = np.full(max(code_points) + 2, -1, np.int32)
        table[code_points] = np.arange(len(self))
        return table

    def _encode_char(self, text):
        table = self._id_of_code_point
        code_points = np.frombuffer(text.encode("utf-32-le"), "<u4")
        return table[np.minimum(code_points, len(table) - 1)]

    def _encode_byte(self, text):
        return np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int32)

    def _encode_word(self, text):
        ids = self._id_of_token
        return np.array([ids.get(token, -1) for token in WORD.findall(text)], np.int32)

    def _describe_unknown(self, text, index):
        if self.level == "char":
            position, what = index, _describe_character(text[index])
        else:
            match = next(m for i, m in enumerate(WORD.finditer(text)) if i == index)
            position, what = match.start(), f"word {match.group()!r}"
        return f"{what} at {_place(text, position)} is not in the vocabulary of {len(self)} tokens"


_BYTES = tuple(map(chr, range(256)))


def _check_tokens(tokens, level):
    if level == "byte":
        if tokens != _BYTES:
            raise ValueError(
                'the tokens of level "byte" are chr(0) to chr(255) in this order; '
                'type Vocabulary.from_text(text, level="byte")'
            )
        return
    seen = set()
    for i, token in enumerate(tokens):
        if not isinstance(token, str):
            raise ValueError(f"a token must be a str; got {token!r} at place {i}")
        if level == "char" and len(token) != 1:
            raise ValueError(f"a token must be one code point; got {token!r} at place {i}")
        _check_surrogates(token)
        if level == "word" and not WORD.fullmatch(token):
            raise ValueError(f"{token!r} at place {i} is not one word, mark or space")
        if token in seen:
            raise ValueError(f"a token must stand once; got {token!r} again at place {i}")
        seen.add(token)


def _check_surrogates(text):
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{_describe_character(text[error.start])} at {_place(text, error.start)} is half of a "
            'surrogate pair and no character; type text.encode("utf-8", "ignore").decode()'
        ) from None


def _describe_character(character):
    return f"character {character!r} (U+{ord(character):04X})"


def _place(text, position):
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return f"position {position} (line {line}, column {column})"
