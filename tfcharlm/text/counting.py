"""The distinct tokens of a text, from which a vocabulary is made."""

import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tfcharlm.checks import POSITIVE_INTEGER
from tfcharlm.text.checks import BYTES, check_level, check_surrogates
from tfcharlm.text.words import WORD


def distinct_tokens(text: str | Iterable[str], level: str, min_count: int) -> Sequence[str]:
    """The tokens of a vocabulary, sorted by code point. The arguments are those of `Vocabulary.from_text`."""
    check_level(level)
    POSITIVE_INTEGER.check("min_count", min_count)
    if min_count != 1 and level != "word":
        raise ValueError(f'min_count must be 1 unless level is "word"; received {min_count!r} at level {level!r}.')
    counts: collections.Counter[str] = collections.Counter()
    characters: set[str] = set()
    for part in _parts(text):
        check_surrogates(part)
        characters.update(part)
        if level == "word":
            counts.update(WORD.findall(part))
    if not characters:
        raise ValueError("text must be a str with at least one character; received an empty text.")
    if level == "byte":
        return BYTES
    if level == "char":
        return sorted(characters)
    words = {word for word, count in counts.items() if count >= min_count}
    return sorted(words | characters if min_count > 1 else words)


def tokens_of_counts(counts: Mapping[str, int], level: str) -> Sequence[str]:
    """The tokens of a vocabulary: those that occur, sorted by code point. At level "byte" the counts do not matter."""
    return BYTES if level == "byte" else sorted(token for token, count in counts.items() if count > 0)


def _parts(text: str | Iterable[str]) -> Iterator[str]:
    """A text, or its parts, as an iterator over strings."""
    parts = text if isinstance(text, Iterable) and not isinstance(text, str) else [text]
    for part in parts:
        if not isinstance(part, str):
            raise ValueError(f"text must be a str, or an iterable of str; received {part!r:.40}.")
        yield part
