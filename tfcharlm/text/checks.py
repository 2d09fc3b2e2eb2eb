"""What a vocabulary requires of its tokens and of a text, and the error that names a position in a text."""

from collections.abc import Sequence

from tfcharlm.text.spelling import DIGITS
from tfcharlm.text.words import WORD

LEVELS = ("char", "byte", "word")
BYTES = tuple(map(chr, range(256)))


class UnknownTokenError(ValueError):
    """A text contains a token that the vocabulary does not have.

    Args:
        token: a description of the token, such as "character 'x' (U+0078)".
        text: the text.
        position: where the token starts in the text.
        size: the number of tokens in the vocabulary.

    Example:

    >>> from tfcharlm.text import UnknownTokenError, Vocabulary
    >>> try:
    ...     Vocabulary("ab").encode("abc")
    ... except UnknownTokenError as error:
    ...     print(error.position, error.what)
    2 character 'c' (U+0063) at position 2 (line 1, column 3) is not in the vocabulary of 2 tokens
    """

    def __init__(self, token: str, text: str, position: int, size: int) -> None:
        self.token, self.position = token, position
        self.what = f"{token} at {describe_position(text, position)} is not in the vocabulary of {size} tokens"
        super().__init__(
            f'{self.what}. Type errors="ignore" to drop it, or make the vocabulary from a text that contains it.'
        )


def check_level(level: object) -> None:
    """A ValueError if there is no such level."""
    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(LEVELS)}; received {level!r}.")


def check_tokens(tokens: Sequence[str], level: str) -> None:
    """A ValueError that names the first token that a vocabulary of this level cannot have."""
    if level == "byte":
        if tokens != BYTES:
            raise ValueError(
                'the tokens of level "byte" must be chr(0) to chr(255), in this order; received other tokens. '
                'Type Vocabulary.from_text(text, level="byte").'
            )
        return
    seen = set()
    spells = tuple(tokens[-len(DIGITS) :]) == DIGITS
    for i, token in enumerate(tokens[: -len(DIGITS)] if spells else tokens):
        if not isinstance(token, str):
            raise ValueError(f"a token must be a str; received {token!r} at position {i}.")
        if level == "char" and len(token) != 1:
            raise ValueError(f"a token must be one code point; received {token!r} at position {i}.")
        check_surrogates(token)
        if level == "word" and not WORD.fullmatch(token):
            raise ValueError(f"a token must be one word, mark or space; received {token!r} at position {i}.")
        if token in seen:
            raise ValueError(f"tokens must be distinct; received {token!r} again at position {i}.")
        seen.add(token)


def check_surrogates(text: str) -> None:
    """A ValueError that names the first lone surrogate of a text, which UTF-8 cannot encode."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{describe_character(text[error.start])} at {describe_position(text, error.start)} is half of a "
            'surrogate pair, which is not a character. Type text.encode("utf-8", "ignore").decode().'
        ) from None


def describe_character(character: str) -> str:
    """A character and its code point."""
    return f"character {character!r} (U+{ord(character):04X})"


def describe_position(text: str, position: int) -> str:
    """A position in a text, with its line and column, both counted from 1."""
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return f"position {position} (line {line}, column {column})"
