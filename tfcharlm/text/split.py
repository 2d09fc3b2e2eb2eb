"""A corpus as ids, with a part held out for validation."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tfcharlm.text.parts import TextPart
from tfcharlm.text.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True, eq=False)
class TextSplit:
    """A corpus as ids, in two parts: one to train on, one held out. `split_corpus` makes it from files.

    Args:
        vocabulary: a `Vocabulary` with the tokens of both parts.
        train: a `TextPart`.
        validation: a `TextPart` of the same kind.
        description: one line about the corpus and what is held out of it; empty by default.
        sha256: the SHA-256 of the texts of the corpus, in hexadecimal; empty by default.
        item_end: the token that ends an item of lines; None (default) for other kinds.
        notes: sentences about what was left out; none by default.

    Example:

    >>> from tfcharlm.text import TextSplit
    >>> split = TextSplit.from_text("to be or not to be")
    >>> split.kind, split.train.num_tokens, split.validation.num_tokens
    ('stream', 16, 2)
    """

    vocabulary: Vocabulary
    train: TextPart
    validation: TextPart
    description: str = ""
    sha256: str = ""
    item_end: str | None = None
    notes: tuple[str, ...] = ()

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
        cut = tail_start(len(ids), validation_fraction)
        return cls(vocabulary, TextPart(len(vocabulary), ids[:cut]), TextPart(len(vocabulary), ids[cut:]))

    @property
    def kind(self) -> str:
        """ "stream", one long text; "documents", several texts; or "lines", items that are a row each."""
        return self.train.kind

    @property
    def train_ids(self) -> np.ndarray:
        """The ids of one long text to train on, integers (length,)."""
        return self._stream(self.train)

    @property
    def validation_ids(self) -> np.ndarray:
        """The ids of the held-out end of one long text, integers (length,)."""
        return self._stream(self.validation)

    @property
    def train_token_counts(self) -> np.ndarray:
        """How often each token occurs in the part to train on, integers (V,)."""
        return self.train.token_counts

    @property
    def train_characters(self) -> int:
        """The number of characters in the part to train on. The end of an item counts as one."""
        return round(float(self.train_token_counts @ np.array(self.vocabulary.characters_per_token)))

    def train_dataset(self, batch_size: int, sequence_length: int, seed: int | None, **options: Any) -> tf.data.Dataset:
        """The batches to train on; the arguments are those of `TextPart.dataset`."""
        return self.train.dataset(batch_size, sequence_length, seed, **options)

    def validation_dataset(self, batch_size: int, sequence_length: int, tokens: int | None = None) -> tf.data.Dataset:
        """The batches to evaluate on, which have every target once.

        Args:
            batch_size: B, the number of rows.
            sequence_length: T, the number of tokens per row.
            tokens: evaluate on about so many tokens; None (default) for all. See `TextPart.start`.

        Returns:
            A `tf.data.Dataset`.
        """
        part = self.validation if tokens is None else self.validation.start(tokens)
        return part.dataset(batch_size, sequence_length, every_target=True)

    def _stream(self, part):
        if part.kind != "stream":
            raise ValueError(
                f"a corpus of {part.kind} is not one array of ids; type split.train.dataset(batch_size, "
                "sequence_length), or join its texts."
            )
        return part.ids


def tail_start(length: int, validation_fraction: float) -> int:
    """Where the held-out end of a text starts. At least two tokens are held out."""
    return min(int(length * (1 - validation_fraction)), length - 2)
