"""One side of a split corpus, the part to train on or the one held out: ids, where its pieces are, and data sets."""

import dataclasses
import functools
import hashlib
from typing import Any

import numpy as np
import tensorflow as tf

from tfcharlm.text.batches import release_pages, sha256_of
from tfcharlm.text.datasets import stream_dataset
from tfcharlm.text.lines import item_dataset

# Number of ids that are counted at a time.
CHUNK = 1 << 20
# Number of places in which items to evaluate on are taken from a part.
RUNS = 64


@dataclasses.dataclass(frozen=True, eq=False)
class TextPart:
    """Ids, and where in them the documents or the items are that belong to this part.

    Args:
        vocabulary_size: V, the number of tokens of the vocabulary.
        ids: integers (length,), in memory or a `numpy.memmap`. Both parts of documents or lines share one array.
        kind: "stream" (default), one long text; "documents", several texts; "lines", items that are a row each.
        begins: int64 (N,), where each document starts, or the token before each item; None (default) for a stream.
        lengths: integers (N,), the number of tokens of each document, or of targets of each item with its end.
        known_sha256: what `sha256` is, if it is known already; None (default) computes it when it is needed.
        known_counts: what `token_counts` is, if it is known already; None (default) computes it.

    Example:

    >>> import numpy as np
    >>> from tfcharlm.text import TextPart
    >>> part = TextPart(3, np.array([0, 1, 2, 1, 1]), "documents", np.array([0, 3]), np.array([3, 2]))
    >>> part.num_tokens, part.token_counts.tolist(), part.head(1).tolist()
    (5, [1, 3, 1], [0])
    """

    vocabulary_size: int
    ids: np.ndarray
    kind: str = "stream"
    begins: np.ndarray | None = None
    lengths: np.ndarray | None = None
    known_sha256: str | None = None
    known_counts: np.ndarray | None = None

    @property
    def num_pieces(self) -> int:
        """The number of documents or items; 1 for a stream."""
        return 1 if self.begins is None else len(self.begins)

    @functools.cached_property
    def num_tokens(self) -> int:
        """The number of tokens; of lines the number of targets, in which every item has its end."""
        return len(self.ids) if self.lengths is None else int(self.token_counts.sum())

    @functools.cached_property
    def token_counts(self) -> np.ndarray:
        """How often each token occurs, integers (V,). The end of an item counts as a token."""
        if self.known_counts is not None:
            return self.known_counts
        counts = np.zeros(self.vocabulary_size, np.int64)
        if self.begins is None:
            # In parts, because NumPy needs 8 bytes for every id.
            for begin in range(0, len(self.ids), CHUNK):
                counts += np.bincount(self.ids[begin : begin + CHUNK], minlength=self.vocabulary_size)
                release_pages(self.ids)
            return counts
        for begin in range(0, len(self.begins), CHUNK // 16):
            ids = self._joined(begin, begin + CHUNK // 16)
            for start in range(0, len(ids), CHUNK):
                counts += np.bincount(ids[start : start + CHUNK], minlength=self.vocabulary_size)
        return counts

    @functools.cached_property
    def sha256(self) -> str:
        """The SHA-256 of the ids of this part and of where its pieces are, in hexadecimal."""
        if self.known_sha256 is not None:
            return self.known_sha256
        if self.begins is None:
            return sha256_of([self.ids])
        return sha256_of([self.ids, self.begins, np.asarray(self.lengths)])

    def documents(self) -> list[np.ndarray]:
        """The ids of each document."""
        begins, lengths = np.asarray(self.begins).tolist(), np.asarray(self.lengths).tolist()
        return [self.ids[begin : begin + length] for begin, length in zip(begins, lengths, strict=True)]

    def head(self, tokens: int) -> np.ndarray:
        """The first ids of the first piece, at most so many."""
        if self.begins is None:
            return self.ids[:tokens]
        # The token before an item is not a token of the item.
        begin = int(self.begins[0]) + (self.kind == "lines")
        return self.ids[begin : begin + min(tokens, int(np.asarray(self.lengths)[0]))]

    def start(self, tokens: int) -> "TextPart":
        """A smaller part to evaluate on: about the first `tokens` tokens; of lines, items from all over the part."""
        if self.begins is None:
            return TextPart(self.vocabulary_size, self.ids[:tokens])
        lengths = np.asarray(self.lengths)
        if self.kind == "lines":
            wanted = max(1, tokens * self.num_pieces // max(1, self.num_tokens))
            # Runs of neighbors: every place that is read maps a part of the file into memory.
            run = -(-wanted // RUNS)
            starts = np.linspace(0, max(0, self.num_pieces - run), -(-wanted // run)).astype(np.int64)
            chosen = np.unique(np.minimum(starts[:, None] + np.arange(run), self.num_pieces - 1))
            pieces = np.array(self.begins[chosen]), np.array(lengths[chosen])
            release_pages(self.begins)
            release_pages(lengths)
        else:
            ends = np.cumsum(lengths)
            number = 1 + int(np.searchsorted(ends, tokens))
            some = np.array(lengths[:number])
            # The last one is cut. A document has two tokens or more.
            some[-1] -= max(0, min(int(some.sum()) - tokens, int(some[-1]) - 2))
            pieces = np.array(self.begins[:number]), some
        known = f"{self.sha256} {tokens}" if self.known_sha256 else None
        return TextPart(self.vocabulary_size, self.ids, self.kind, *pieces, known_sha256=known)

    def dataset(
        self,
        batch_size: int,
        sequence_length: int,
        seed: int | None = None,
        epochs: int | None = 1,
        every_target: bool = False,
        state_reset_probability: float = 0.0,
        random_start: bool = True,
    ) -> tf.data.Dataset:
        """The data set that suits this kind of text: `stream_dataset`, or for lines what `line_dataset` gives.

        Args:
            batch_size: B, the number of rows; of lines, of items.
            sequence_length: T, the number of tokens per row. Items are read whole, whatever T is.
            seed: as in `stream_dataset` and `line_dataset`; None (default) for the same order in every epoch.
            epochs: how many times to read it; 1 by default.
            every_target: True drops no target at the end of a stream, for evaluation. False by default.
            state_reset_probability: as in `stream_dataset`; 0 by default. Every item starts from a zero state anyway.
            random_start: as in `stream_dataset`; True by default.

        Returns:
            A `tf.data.Dataset`.

        Raises:
            ValueError: the part is too short for one batch, or an argument is out of range.
        """
        if self.kind == "lines":
            lengths = np.asarray(self.lengths)
            return item_dataset(self.ids, self.begins, lengths, batch_size, seed, epochs, lambda: self.sha256)
        ids: Any = self.ids if self.begins is None else self.documents()
        return stream_dataset(
            ids, batch_size, sequence_length, seed, epochs, not every_target, state_reset_probability, random_start,
            ids_sha256=lambda: self.sha256,
        )  # fmt: skip

    def _joined(self, first, last):
        """The ids of the pieces from `first` to `last`, yielded as one array; of lines, the targets."""
        begins = np.asarray(self.begins[first:last]) + (self.kind == "lines")
        lengths = np.asarray(np.asarray(self.lengths)[first:last], np.int64)
        pieces = [self.ids[b : b + n] for b, n in zip(begins.tolist(), lengths.tolist(), strict=True)]
        joined = np.concatenate(pieces) if pieces else np.zeros(0, np.int64)
        release_pages(self.ids)
        return joined


def digest_of(*parts: bytes) -> str:
    """The SHA-256 of several byte strings, each with its length, in hexadecimal."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)} ".encode() + part)
    return digest.hexdigest()
