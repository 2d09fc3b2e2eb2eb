"""Counts of n-grams, for every n up to an order, over any alphabet."""

from collections.abc import Iterator, Sequence

import numpy as np

from tfcharlm.checks import POSITIVE_INTEGER


class NGrams:
    """The n-grams of one n that occur in documents. Each has a number, from 0 up.

    The key of an n-gram is its first symbol x the number of different (n - 1)-grams + the number of its last n - 1
    symbols. So a key fits into 64 bits whatever the size of the alphabet.

    Args:
        n: their length.
        keys: int64 (different n-grams,), sorted; the index is the number.
        numbers: int64 (positions,), the number of the n-gram that ends at each position; -1 where none does.
        num_shorter: the number of different (n - 1)-grams.
    """

    def __init__(self, n: int, keys: np.ndarray, numbers: np.ndarray, num_shorter: int) -> None:
        self.n, self.keys, self.numbers, self.num_shorter = n, keys, numbers, num_shorter
        self._longer: NGrams | None = None

    def count(self, positions: np.ndarray, shorter: "NGrams", longer: "NGrams | None") -> None:
        """Counts them, and finds the context of each: the number of its first n - 1 symbols."""
        ends = np.flatnonzero(positions >= max(self.n - 1, 1))
        ending = self.numbers[ends]
        self.contexts = np.zeros(len(self.keys), np.int64)
        self.contexts[ending] = shorter.numbers[ends - 1]
        self.occurrences = np.bincount(ending, minlength=len(self.keys))
        self._starts = np.bincount(ending[positions[ends] == self.n - 1], minlength=len(self.keys))
        self._longer = longer

    def continuations(self) -> np.ndarray:
        """How many different symbols precede each n-gram; the start of each document is a symbol of its own."""
        assert self._longer is not None
        return self._starts + np.bincount(self._longer.keys % len(self.keys), minlength=len(self.keys))


def count_ngrams(ids: np.ndarray, positions: np.ndarray, order: int) -> Iterator[NGrams]:
    """Counts the n-grams of n = 1, 2, ..., order that end with a symbol which is not the first one of its document.

    Args:
        ids: int64 (positions,), from `joined`.
        positions: int64 (positions,), from `joined`.
        order: the highest n. The `NGrams` of this n have no `continuations`.

    Yields:
        The `NGrams` of one n after the other, so that not all of them need be kept.
    """
    shorter = NGrams(0, np.zeros(1, np.int64), np.zeros(len(ids), np.int64), 0)
    grams = _extended(shorter, ids, positions)
    while grams.n <= order:
        longer = _extended(grams, ids, positions) if grams.n < order else None
        grams.count(positions, shorter, longer)
        yield grams
        if longer is None:
            return
        shorter, grams = grams, longer


def _extended(grams: NGrams, ids: np.ndarray, positions: np.ndarray) -> NGrams:
    """The n-grams that are one symbol longer, at their start."""
    ends = np.flatnonzero(positions >= grams.n)
    keys, numbers = np.unique(ids[ends - grams.n] * len(grams.keys) + grams.numbers[ends], return_inverse=True)
    everywhere = np.full(len(ids), -1)
    everywhere[ends] = numbers
    return NGrams(grams.n + 1, keys, everywhere, len(grams.keys))


def joined(documents: Sequence[np.ndarray], size: int) -> tuple[np.ndarray, np.ndarray]:
    """All symbols in one array, and the position of each in its document.

    Raises:
        ValueError: there are no documents, or a symbol is not in [0, size).
    """
    if not len(documents):
        raise ValueError("documents must be a list of at least one integer array; received none.")
    ids = np.concatenate(documents).astype(np.int64)
    if ids.min(initial=0) < 0 or ids.max(initial=0) >= size:
        raise ValueError(f"symbols must be from 0 to below size={size}; received {ids.min()} to {ids.max()}.")
    return ids, np.concatenate([np.arange(len(document)) for document in documents])


def checked_order(order: int, positions: np.ndarray) -> int:
    """The order, if a document has an n-gram that long after its first symbol; otherwise a ValueError."""
    longest = int(positions.max(initial=0))
    if POSITIVE_INTEGER.check("order", order) > longest:
        raise ValueError(f"order must be from 1 to {longest} for these documents; received {order}.")
    return order
