"""The distinct tokens of a text, from which a vocabulary is made."""

import collections
import collections.abc

from tfcharlm.checks import POSITIVE_INTEGER
from tfcharlm.text.checks import BYTES, check_level, check_surrogates
from tfcharlm.text.words import WORD


def distinct_tokens(text, level, min_count):
    """The tokens of a vocabulary, sorted by code point. The arguments are those of `Vocabulary.from_text`."""
    check_level(level)
    POSITIVE_INTEGER.check("min_count", min_count)
    if min_count != 1 and level != "word":
        raise ValueError(f'min_count counts words, at level "word"; received {min_count!r} at level {level!r}.')
    counts, characters = collections.Counter(), set()
    for part in _parts(text):
        check_surrogates(part)
        characters.update(part)
        if level == "word":
            counts.update(WORD.findall(part))
    if not characters:
        raise ValueError("a vocabulary is made of a text with characters; received an empty one.")
    if level == "byte":
        return BYTES
    if level == "char":
        return sorted(characters)
    words = {word for word, count in counts.items() if count >= min_count}
    return sorted(words | characters if min_count > 1 else words)


def _parts(text):
    """A text, or its parts, as an iterable of strings."""
    parts = text if isinstance(text, collections.abc.Iterable) and not isinstance(text, str) else [text]
    for part in parts:
        if not isinstance(part, str):
            raise ValueError(f"a vocabulary is made of a text with characters; received {part!r:.40}.")
        yield part
