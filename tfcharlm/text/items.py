"""The items of a text, such as names or tunes, between separators."""

from collections.abc import Iterable, Iterator

import numpy as np

from tfcharlm.text.vocabulary import Vocabulary

# U+001E, the record separator of ASCII. It ends items that may have newlines.
RECORD_SEPARATOR = "\x1e"
# An item is a row of a batch, so a longer one hardly fits into memory.
LONGEST = 1 << 20


def item_end(separator: str) -> str:
    """The token that ends an item: the newline, or, if items may have newlines, U+001E."""
    return "\n" if separator == "\n" else RECORD_SEPARATOR


def items_of(parts: Iterable[str], separator: str) -> Iterator[tuple[list[str], int]]:
    """Cuts a text at its separators.

    Args:
        parts: the text, part by part.
        separator: "\\n", or another str that is not empty. With another one, newlines at both ends of an item do not
            belong to it.

    Yields:
        `(items, number of empty items)`. The end of the text ends the last item.

    Raises:
        ValueError: an item is too long, or has U+001E, which ends items that may have newlines.

    Example:

    >>> from tfcharlm.text.items import items_of
    >>> list(items_of(["ann\\n\\nb", "o\\n"], "\\n"))
    [(['ann'], 1), (['bo'], 0)]
    """
    rest = ""
    for part in parts:
        *items, rest = (rest + part).split(separator)
        if len(rest) > LONGEST:
            raise ValueError(
                f"an item must have at most {LONGEST:,} characters; received one that begins with {rest[:20]!r}. "
                "Is the separator right?"
            )
        if items:
            yield _without_empty(items, separator)
    if rest:
        yield _without_empty([rest], separator)


def _without_empty(items, separator):
    if separator != "\n":
        items = [item.strip("\n") for item in items]
        for item in items:
            if RECORD_SEPARATOR in item:
                raise ValueError(
                    f"an item must not have U+001E, which ends it; received {item!r:.60}. Remove that character."
                )
    kept = [item for item in items if item]
    return kept, len(items) - len(kept)


def joined(items: list[str], separator: str) -> str:
    """The items with their ends as one text; before an item that may have newlines also the newline it is read from."""
    if separator == "\n":
        return "\n".join(items) + "\n" if items else ""
    return "".join(f"\n{item}{RECORD_SEPARATOR}" for item in items)


def encoded(items: list[str], separator: str, vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """The ids of `joined(items, separator)`, and how many of them belong to each item."""
    if vocabulary.level == "word" and separator != "\n":
        # A word does not end before U+001E.
        newline, end = vocabulary.encode("\n"), vocabulary.encode(RECORD_SEPARATOR)
        pieces = [np.concatenate([newline, vocabulary.encode(item), end]) for item in items]
        return np.concatenate(pieces), np.array([len(piece) for piece in pieces])
    ids = vocabulary.encode(joined(items, separator))
    end = vocabulary.encode(item_end(separator))
    return ids, np.diff(np.flatnonzero(ids == end[0]), prepend=-1)
