"""What a vocabulary asks of its tokens and of a text, and the error that names a position in it."""

from tfcharlm.text.words import WORD

LEVELS = ("char", "byte", "word")
BYTES = tuple(map(chr, range(256)))


class UnknownTokenError(ValueError):
    """A text has something that the vocabulary does not have: `token` at `position`; `what` is a line about it."""

    def __init__(self, token, text, position, size):
        self.token, self.position = token, position
        self.what = f"{token} at {describe_position(text, position)} is not in the vocabulary of {size} tokens"
        super().__init__(
            f'{self.what}; type errors="ignore" to drop it, or Vocabulary.from_text with a text that has it'
        )


def check_level(level):
    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(LEVELS)}; received {level!r}.")


def check_tokens(tokens, level):
    if level == "byte":
        if tokens != BYTES:
            raise ValueError(
                'the tokens of level "byte" are chr(0) to chr(255) in this order; '
                'type Vocabulary.from_text(text, level="byte")'
            )
        return
    seen = set()
    for i, token in enumerate(tokens):
        if not isinstance(token, str):
            raise ValueError(f"a token must be a str; received {token!r} at position {i}")
        if level == "char" and len(token) != 1:
            raise ValueError(f"a token must be one code point; received {token!r} at position {i}")
        check_surrogates(token)
        if level == "word" and not WORD.fullmatch(token):
            raise ValueError(f"{token!r} at position {i} is not one word, mark or space")
        if token in seen:
            raise ValueError(f"a token must stand once; received {token!r} again at position {i}")
        seen.add(token)


def check_surrogates(text):
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{describe_character(text[error.start])} at {describe_position(text, error.start)} is half of a "
            'surrogate pair and no character; type text.encode("utf-8", "ignore").decode()'
        ) from None


def describe_character(character):
    return f"character {character!r} (U+{ord(character):04X})"


def describe_position(text, position):
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return f"position {position} (line {line}, column {column})"
