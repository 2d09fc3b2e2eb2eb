"""Novelty: how much of a generated text is copied from the training text."""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from tfcharlm.checks import POSITIVE_INTEGER

LENGTHS = (4, 8, 16, 32)
# Any odd number: it must have an inverse modulo 2^64.
_BASE = 0x9E3779B97F4A7C15


@dataclasses.dataclass(frozen=True)
class NoveltyReport:
    """The result of `novelty_report`; `str` makes a few readable lines of it.

    Args:
        texts: number of texts.
        characters: number of characters in all texts.
        longest_copy: the longest piece of a text that occurs verbatim in the corpus.
        copied: for each length n, the fraction of the texts' character n-grams that occur in the corpus; None if no
            text is that long.
        known: the fraction of the texts' lines that are lines of the corpus, not counting blank lines.
        repeated: the fraction of the texts that are equal to an earlier text.
    """

    texts: int
    characters: int
    longest_copy: str
    copied: Mapping[int, float | None]
    known: float
    repeated: float

    def __str__(self) -> str:
        fractions = (f"{n}: {'-' if copied is None else format(copied, '.1%')}" for n, copied in self.copied.items())
        return (
            f"{self.texts:,} texts with {self.characters:,} characters\n"
            f"lines found in the corpus: {self.known:.1%}; texts that repeat another: {self.repeated:.1%}\n"
            f"character n-grams found in the corpus: {', '.join(fractions)}\n"
            f"longest copy: {len(self.longest_copy)} characters, {_shortened(self.longest_copy)}"
        )


def novelty_report(texts: str | Iterable[str], corpus: str, lengths: Iterable[int] = LENGTHS) -> NoveltyReport:
    r"""Measures how much of generated texts, or names, is copied from a corpus.

    $$ \mathrm{copied}_n = \frac{\sum_{texts} |\{i : text_{i \dots i+n-1} \in \mathrm{corpus}\}|}
       {\sum_{texts} \max(0, |text| - n + 1)} $$

    A novel text shares few long n-grams with the corpus; every text shares short ones. Compare with a held-out text by
    the same author: its fractions show how much overlap there is without copying.

    Args:
        texts: a str, or a list of str: what a model generated, without the prompts.
        corpus: a str, the training text; for names, one name per line.
        lengths: the lengths n. The default ranges from parts of words to half a line.

    Returns:
        A `NoveltyReport`.

    Raises:
        ValueError: the texts or the corpus are empty, or a length is below 1.

    Example:

    >>> from tfcharlm import novelty_report
    >>> report = novelty_report(["anna", "anno", "anno"], "anna\nbob\n", lengths=(2, 4))
    >>> print(report)
    3 texts with 12 characters
    lines found in the corpus: 33.3%; texts that repeat another: 33.3%
    character n-grams found in the corpus: 2: 77.8%, 4: 33.3%
    longest copy: 4 characters, 'anna'

    Reference: McCoy et al. (2023), How much do language models copy from their training data? TACL 11 (n-gram novelty);
    Karp & Rabin (1987), Efficient randomized pattern-matching algorithms (the hashes).
    """
    texts = [texts] if isinstance(texts, str) else list(texts)
    if not isinstance(corpus, str):
        raise ValueError(f'corpus must be a str, such as "\\n".join(names); received {type(corpus).__name__}.')
    if not any(texts) or not corpus:
        raise ValueError(f"texts and corpus must have characters; received {texts!r:.40} and {corpus!r:.40}.")
    lengths = [POSITIVE_INTEGER.check("each of lengths", length) for length in lengths]
    index = _Index(texts, corpus)
    lines = [line for text in texts for line in [part for part in text.split("\n") if part] or [""]]
    corpus_lines = set(corpus.split("\n")) - {""}
    return NoveltyReport(
        texts=len(texts),
        characters=sum(map(len, texts)),
        longest_copy=_longest_copy(index),
        copied={length: _mean(index.starts(length)) for length in lengths},
        known=sum(line in corpus_lines for line in lines) / len(lines),
        repeated=1 - len(set(texts)) / len(texts),
    )


class _Index:
    """Finds which n-grams of texts occur in a corpus, for any n, in time linear in both lengths."""

    def __init__(self, texts, corpus):
        self.texts, self.corpus = texts, corpus
        self.hashes, self.corpus_hashes = [_Hashes(text) for text in texts], _Hashes(corpus)

    def starts(self, length):
        """Whether the corpus has each n-gram of the texts: bool (number of n-grams,)."""
        wanted = np.concatenate([hashes.of(length) for hashes in self.hashes])
        # The texts are short and the corpus is long, so the texts are sorted, not the corpus.
        unique, first, inverse = np.unique(wanted, return_index=True, return_inverse=True)
        in_corpus = self.corpus_hashes.of(length)
        found = np.zeros(len(unique), bool)
        if not len(unique) or not len(in_corpus):
            return found[inverse]
        nearest = np.minimum(np.searchsorted(unique, in_corpus), len(unique) - 1)
        hits = np.flatnonzero(unique[nearest] == in_corpus)
        position_of = dict(zip(nearest[hits].tolist(), hits.tolist(), strict=True))
        for gram, position in position_of.items():
            # Equal hashes nearly always mean equal n-grams. The comparison makes sure that no n-gram counts as a copy
            # that is not one.
            found[gram] = self.corpus[position : position + length] == self.piece(length, first[gram])
        return found[inverse]

    def piece(self, length, start):
        """The n-gram at this position in the result of `starts`."""
        for text in self.texts:
            count = max(0, len(text) - length + 1)
            if start < count:
                return text[start : start + length]
            start -= count
        raise IndexError(start)


class _Hashes:
    r"""Karp and Rabin's hashes of all n-grams of a text, modulo 2^64.

    $$ H_i = \sum_{j<n} x_{i+j} b^j = b^{-i} (P_{i+n} - P_i), \qquad P_i = \sum_{k<i} x_k b^k $$
    """

    def __init__(self, text):
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64) + np.uint64(1)
        self.sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(points * _powers(_BASE, len(points)))])
        self.inverses = _powers(pow(_BASE, -1, 2**64), len(points))

    def of(self, length):
        """The hashes of all n-grams of the text, in order: uint64; empty if the text is shorter than n."""
        if length >= len(self.sums):
            return np.zeros(0, np.uint64)
        differences = self.sums[length:] - self.sums[:-length]
        return differences * self.inverses[: len(differences)]


def _powers(base, count):
    powers = np.full(count, base, np.uint64)
    powers[:1] = 1
    return np.cumprod(powers)


def _longest_copy(index):
    """By bisection, because every part of a copy is a copy, too."""
    shortest, longest = 0, 1
    while index.starts(longest).any():
        shortest, longest = longest, 2 * longest
    while longest - shortest > 1:
        middle = (shortest + longest) // 2
        if index.starts(middle).any():
            shortest = middle
        else:
            longest = middle
    return index.piece(shortest, int(index.starts(shortest).argmax())) if shortest else ""


def _mean(array):
    return float(array.mean()) if len(array) else None


def _shortened(text, limit=80):
    return repr(text) if len(text) <= limit else f"{text[: limit // 2]!r} ... {text[-limit // 2 :]!r}"
