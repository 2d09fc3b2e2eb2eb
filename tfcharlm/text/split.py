"""A text as ids, with its last part held out for validation."""

from typing import NamedTuple

import numpy as np

from tfcharlm.text.vocabulary import Vocabulary

# Number of ids that are counted at a time.
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
    def from_text(
        cls,
        text: str,
        level: str = "char",
        validation_fraction: float = 0.1,
        vocabulary: Vocabulary | None = None,
    ) -> "TextSplit":
        """Cuts a text in two. The vocabulary has the tokens of both parts, so that the whole text can be scored.

        Args:
            text: str, at least two tokens.
            level: "char" (default), "byte" or "word"; see `Vocabulary`.
            validation_fraction: the fraction of the tokens that is held out, 0.1 by default. At least two tokens are
                held out, because a loss needs one to read and one to predict.
            vocabulary: another `Vocabulary` than that of the text, such as that of a model; it decides on the level.
                None (default) for that of the text.

        Returns:
            A `TextSplit`.

        Raises:
            ValueError: the text is empty or has a token that is not in `vocabulary`, or there is no such level.

        Example:

        >>> from tfcharlm.text import TextSplit
        >>> split = TextSplit.from_text("to be or not to be", validation_fraction=0.25)
        >>> split.vocabulary.decode(split.train_ids), split.vocabulary.decode(split.validation_ids)
        ('to be or not ', 'to be')
        """
        vocabulary = Vocabulary.from_text(text, level=level) if vocabulary is None else vocabulary
        ids = vocabulary.encode(text)
        trained_on = min(int(len(ids) * (1 - validation_fraction)), len(ids) - 2)
        return cls(vocabulary, ids[:trained_on], ids[trained_on:])

    @property
    def train_token_counts(self) -> np.ndarray:
        """How often each token occurs in the ids to train on, integers (V,)."""
        # In parts, because NumPy needs 8 bytes for every id.
        parts = np.array_split(self.train_ids, 1 + len(self.train_ids) // CHUNK)
        return sum(np.bincount(part, minlength=len(self.vocabulary)) for part in parts)  # type: ignore[return-value]

    @property
    def train_characters(self) -> int:
        """The number of characters in the text to train on."""
        return round(float(self.train_token_counts @ np.array(self.vocabulary.characters_per_token)))
