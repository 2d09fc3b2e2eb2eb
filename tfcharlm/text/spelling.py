r"""Spells characters that are not tokens: by the hexadecimal digits of their bytes in UTF-8.

"é" is the bytes C3 A9, and so the tokens `<0xC>`, `<3>`, `<A>`, `<9>`. The first digit of a character is a token of its
own kind: it counts as one character, the others as none. These are 28 tokens. With a token for every byte they would be
243 less those in use, and a training step of 256 units and 65 characters would take a fourth longer
(docs/design-notes.md).

Every text has exactly one spelling. Where some digits cannot follow, as they would make no character, or one that is a
token itself, `Spelling.transitions` says so. With the probability of such digits set to 0, the probabilities of all
texts add up to 1.
"""

from collections.abc import Iterable, Sequence

import numpy as np

HEX = "0123456789ABCDEF"
# The first digits of the bytes that start a character: ASCII has 0 to 7, and 8 to B continue a character.
FIRST = "01234567CDEF"
FIRST_DIGITS = tuple(f"<0x{digit}>" for digit in FIRST)
DIGITS = FIRST_DIGITS + tuple(f"<{digit}>" for digit in HEX)
# The bytes of the longest character, in digits.
MOST_DIGITS = 8
# How many digits a character has, by its first one, and the first code point that needs so many.
DIGITS_BY_FIRST = dict.fromkeys("01234567", 2) | {"C": 4, "D": 4, "E": 6, "F": 8}
_LEAST = {2: 0, 4: 0x80, 6: 0x800, 8: 0x10000}
_SURROGATES, _END = (0xD800, 0xE000), 0x110000


def spelled(character: str) -> list[int]:
    """The positions in `DIGITS` of the digits of a character.

    Example:

    >>> from tfcharlm.text.spelling import DIGITS, spelled
    >>> [DIGITS[i] for i in spelled("é")]
    ['<0xC>', '<3>', '<A>', '<9>']
    """
    digits = character.encode("utf-8").hex().upper()
    return [FIRST.index(digits[0]), *(len(FIRST) + HEX.index(digit) for digit in digits[1:])]


def text_of_digits(digits: Sequence[int]) -> str:
    """The text of positions in `DIGITS`. What is not a whole character becomes U+FFFD.

    Example:

    >>> from tfcharlm.text.spelling import spelled, text_of_digits
    >>> text_of_digits([*spelled("é"), *spelled("z"), *spelled("é")[:3]])
    'éz\ufffd'
    """
    characters: list[str] = []
    for digit in digits:
        if digit < len(FIRST):
            characters.append(FIRST[digit])
        elif characters and len(characters[-1]) < DIGITS_BY_FIRST.get(characters[-1][0], 0):
            characters[-1] += HEX[digit - len(FIRST)]
        else:
            # Nothing has begun that this digit could continue.
            characters.append("?")
    return "".join(map(_character, characters))


def _character(digits):
    if len(digits) != DIGITS_BY_FIRST.get(digits[0]):
        return "\ufffd"
    return bytes.fromhex(digits).decode("utf-8", "replace")


def digits_of_unfinished(digits: Sequence[int]) -> int:
    """How many digits at the end of a sequence begin a character and do not end it.

    Args:
        digits: positions in `DIGITS`; tokens that are not digits are negative.

    Example:

    >>> from tfcharlm.text.spelling import digits_of_unfinished, spelled
    >>> digits_of_unfinished([-1, *spelled("é")]), digits_of_unfinished([-1, *spelled("é")[:3]])
    (0, 3)
    """
    for count, digit in enumerate(reversed(digits[-MOST_DIGITS:]), start=1):
        if digit < len(FIRST):
            return count if digit >= 0 and count < DIGITS_BY_FIRST[FIRST[digit]] else 0
    return 0


class Spelling:
    """Which digits can follow which, given the characters that are tokens and are therefore never spelled.

    Args:
        characters: the characters that are tokens.

    Attributes:
        transitions: int32 (N, 28). Row 0 is the state before a character, the others are those within one.
            `transitions[state, i]` is the state after the digit `DIGITS[i]`, 0 if it ends a character, or -1 if the
            digit cannot follow.

    Example:

    >>> from tfcharlm.text.spelling import DIGITS, Spelling
    >>> spelling = Spelling(["a", "b"])
    >>> state = spelling.transitions[0, DIGITS.index("<0x6>")]      # "a" is 61, and "b" is 62
    >>> " ".join(digit for digit, after in zip(DIGITS, spelling.transitions[state]) if after >= 0)
    '<0> <3> <4> <5> <6> <7> <8> <9> <A> <B> <C> <D> <E> <F>'
    """

    def __init__(self, characters: Iterable[str]) -> None:
        # Equal states are one. So there are not many more states than characters that are tokens.
        self._numbers: dict[tuple[int, ...], int] = {}
        self._whole_blocks: dict[int, int] = {}
        start = self._row("", sorted(character.encode("utf-8").hex().upper() for character in characters))
        self.transitions = np.array([start, *self._numbers], np.int32)

    def _row(self, digits, known):
        """The states after one more digit; `known` are the characters that begin with `digits` and are tokens."""
        after = [-1] * len(DIGITS)
        for i, digit in enumerate(HEX):
            place = len(FIRST) + i if digits else FIRST.find(digit)
            if place >= 0:
                longer = digits + digit
                after[place] = self._state(longer, [text for text in known if text.startswith(longer)])
        return tuple(after)

    def _state(self, digits, known):
        """The state after these digits: 0 after a whole character, -1 if they begin none that is spelled."""
        count, left = _count(digits), DIGITS_BY_FIRST[digits[0]] - len(digits)
        if count == len(known):
            return -1
        if not left:
            return 0
        if known or count < 16 ** (left % 2) * 64 ** (left // 2):
            return self._number(self._row(digits, known))
        # Whatever follows makes a character. All such states with as many digits left are one.
        if left not in self._whole_blocks:
            self._whole_blocks[left] = self._number(self._row(digits, known))
        return self._whole_blocks[left]

    def _number(self, row):
        return self._numbers.setdefault(row, len(self._numbers) + 1)


def _count(digits):
    """How many characters begin with these digits of their bytes."""
    size = DIGITS_BY_FIRST[digits[0]] // 2
    filled = []
    for fill in ("08", "FB"):
        text = digits
        while len(text) < 2 * size:
            # The first digit of every byte but the first is 8 to B.
            text += fill[1] if len(text) % 2 == 0 else fill[0]
        lead, *others = bytes.fromhex(text)
        if any(byte & 0xC0 != 0x80 for byte in others):
            return 0
        code = lead & (0x7F if size == 1 else 0xFF >> (size + 1))
        if size == 4 and lead > 0xF7:
            if fill == "08":
                return 0
            code = 7
        for byte in others:
            code = code << 6 | byte & 0x3F
        filled.append(code)
    first, end = max(filled[0], _LEAST[2 * size]), min(filled[1] + 1, _END)
    surrogates = max(0, min(end, _SURROGATES[1]) - max(first, _SURROGATES[0]))
    return max(0, end - first) - surrogates
