"""A text as ids, with its last part held out for validation."""

from typing import NamedTuple

import numpy as np

from tfcharlm.text.vocabulary import Vocabulary

# Ids that are counted at a time.
CHUNK = 1 << 20


class TextSplit(NamedTuple):
    """A text as ids, cut in two: the first part to train on, the last part held out.

    Args:
        vocabulary: a `Vocabulary` with the tokens of both parts.
        train_ids: int32 (length,).
        validation_ids: int32 (length,).
    """

    vocabulary: Vocabulary
    train_ids: np.ndarray
    validation_ids: np.ndarray

    @classmethod
    def from_text(cls, text, level="char", validation_fraction=0.1):
        """Cuts a text in two. The tokens of both parts are in the vocabulary, so that all of it can be scored.

        Args:
            text: str, at least two tokens.
            level: "char", "byte" or "word".
            validation_fraction: the share of the tokens that is held out, a tenth by default; at least two tokens are.

        Example:

        >>> from tfcharlm.text import TextSplit
        >>> split = TextSplit.from_text("to be or not to be", validation_fraction=0.25)
        >>> split.vocabulary.decode(split.train_ids), split.vocabulary.decode(split.validation_ids)
        ('to be or not ', 'to be')
        """
        vocabulary = Vocabulary.from_text(text, level=level)
        ids = vocabulary.encode(text)
        trained_on = min(int(len(ids) * (1 - validation_fraction)), len(ids) - 2)
        return cls(vocabulary, ids[:trained_on], ids[trained_on:])

    @property
    def train_token_counts(self):
        """How often each token occurs in the ids to train on, integers (V,)."""
        # In parts, because NumPy makes 8 bytes of every id.
        parts = np.array_split(self.train_ids, 1 + len(self.train_ids) // CHUNK)
        return sum(np.bincount(part, minlength=len(self.vocabulary)) for part in parts)

    @property
    def train_characters(self):
        """How many characters the ids to train on stand for."""
        return round(float(self.train_token_counts @ np.array(self.vocabulary.characters_per_token)))
