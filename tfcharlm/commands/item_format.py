"""Models that were trained on items, such as names: what is between two items, and what ends one."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tfcharlm.artefact import TRAINING, read_record
from tfcharlm.text import Vocabulary, items_of


class ItemFormat(NamedTuple):
    """What is between two items of a text, and the token that ends an item for the model."""

    separator: str
    end: str

    def items(self, text: str) -> Iterator[str]:
        """The items of a text, in its order, without their ends."""
        for items, _ in items_of([_with_newlines(text)], self.separator):
            yield from items

    def scored_end(self, vocabulary: Vocabulary) -> str:
        """What to score after an item: its end, except where that would become a part of the last word."""
        return "" if vocabulary.level == "word" and self.end != "\n" else self.end


def item_format(directory: Path) -> ItemFormat | None:
    """The items that a model was trained on, as the record in its export says; None if it was not trained on items."""
    record = read_record(directory, TRAINING)
    found = record.get("separator", "\n"), record.get("item_end", "\n")
    is_valid = record.get("lines") is True and all(isinstance(text, str) and text for text in found)
    return ItemFormat(_with_newlines(found[0]), found[1]) if is_valid else None


def _with_newlines(text):
    """As texts are read: whatever ends a line is a newline."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
