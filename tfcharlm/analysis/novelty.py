"""How much of a generated text is copied from the text that a model was trained on."""

import dataclasses

import numpy as np

from tfcharlm.checks import POSITIVE_INTEGER

LENGTHS = (4, 8, 16, 32)
# Odd, so that it has an inverse modulo 2^64; else any.
_BASE = 0x9E3779B97F4A7C15


@dataclasses.dataclass(frozen=True)
class NoveltyReport:
    """What `novelty_report` found; `str` of it is a few lines to read.

    Args:
        texts: how many texts there were.
        characters: how many characters in all of them.
        longest_copy: the longest piece of a text that stands in the corpus, letter by letter.
        copied: for each length n, the share of the texts' n-grams of characters that stand in the corpus; None where no
            text is as long.
        known: the share of the texts' lines that are a line of the corpus; blank lines do not count.
        repeated: the share of the texts that another text, before them, is equal to.
    """

    texts: int
    characters: int
    longest_copy: str
    copied: dict
    known: float
    repeated: float

    def __str__(self):
        shares = (f"{n}: {'-' if share is None else format(share, '.1%')}" for n, share in self.copied.items())
        return (
            f"{self.texts:,} texts of {self.characters:,} characters\n"
            f"lines that the corpus has: {self.known:.1%}; repetitions of another text: {self.repeated:.1%}\n"
            f"n-grams of characters that the corpus has: {', '.join(shares)}\n"
            f"longest copy: {len(self.longest_copy)} characters, {_shortened(self.longest_copy)}"
        )


def novelty_report(texts, corpus, lengths=LENGTHS):
    r"""Says how much of generated texts, or names, is copied from a corpus.

    $$ \mathrm{copied}_n = \frac{\sum_{texts} |\{i : text_{i \dots i+n-1} \in \mathrm{corpus}\}|}
       {\sum_{texts} \max(0, |text| - n + 1)} $$

    A text that is new has a small share of long n-grams; short ones every text shares. A held-out text of the same
    author gives the shares that no copying explains: compare with it.

    Args:
        texts: str, or a list of str: what a model wrote, without the prompts.
        corpus: str, what it was trained on; for names, one a line.
        lengths: the lengths n. The default goes from parts of words to half a line.

    Returns:
        A `NoveltyReport`.

    Raises:
        ValueError: there is no text, or no corpus, or a length is below 1.

    Example:

    >>> report = novelty_report(["anna", "anno", "anno"], "anna\nbob\n", lengths=(2, 4))
    >>> print(report)
    3 texts of 12 characters
    lines that the corpus has: 33.3%; repetitions of another text: 33.3%
    n-grams of characters that the corpus has: 2: 77.8%, 4: 33.3%
    longest copy: 4 characters, 'anna'

    Reference: McCoy et al. (2023), How much do language models copy from their training data? TACL 11 (n-gram novelty);
    Karp & Rabin (1987), Efficient randomized pattern-matching algorithms (the hashes).
    """
    texts = [texts] if isinstance(texts, str) else list(texts)
    if not isinstance(corpus, str):
        raise ValueError(f'corpus must be a str, such as "\\n".join(names); received {type(corpus).__name__}')
    if not any(texts) or not corpus:
        raise ValueError(f"expected texts and a corpus with characters; received {texts!r:.40} and {corpus!r:.40}")
    lengths = [POSITIVE_INTEGER.check("every one of lengths", length) for length in lengths]
    known = _Index(texts, corpus)
    lines = [line for text in texts for line in [part for part in text.split("\n") if part] or [""]]
    of_corpus = set(corpus.split("\n")) - {""}
    return NoveltyReport(
        texts=len(texts),
        characters=sum(map(len, texts)),
        longest_copy=_longest_copy(known),
        copied={length: _mean(known.starts(length)) for length in lengths},
        known=sum(line in of_corpus for line in lines) / len(lines),
        repeated=1 - len(set(texts)) / len(texts),
    )


class _Index:
    """Answers where the n-grams of texts stand in a corpus, for any n, in time linear in both."""

    def __init__(self, texts, corpus):
        self.texts, self.corpus = texts, corpus
        self.hashes, self.corpus_hashes = [_Hashes(text) for text in texts], _Hashes(corpus)

    def starts(self, length):
        """For every n-gram of all texts whether the corpus has it: bool (number of n-grams,)."""
        wanted = np.concatenate([hashes.of(length) for hashes in self.hashes])
        # The texts are short and the corpus is long: so it is the texts that are sorted.
        unique, first, places = np.unique(wanted, return_index=True, return_inverse=True)
        there = self.corpus_hashes.of(length)
        found = np.zeros(len(unique), bool)
        if not len(unique) or not len(there):
            return found[places]
        nearest = np.minimum(np.searchsorted(unique, there), len(unique) - 1)
        hits = np.flatnonzero(unique[nearest] == there)
        place_of = dict(zip(nearest[hits].tolist(), hits.tolist(), strict=True))
        for gram, place in place_of.items():
            # Equal hashes are nearly always equal n-grams; nothing is called a copy that is none.
            found[gram] = self.corpus[place : place + length] == self.piece(length, first[gram])
        return found[places]

    def piece(self, length, start):
        """The n-gram of that place in `starts`."""
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
        """The hashes of all n-grams in their order, uint64; none if the text is shorter."""
        if length >= len(self.sums):
            return np.zeros(0, np.uint64)
        differences = self.sums[length:] - self.sums[:-length]
        return differences * self.inverses[: len(differences)]


def _powers(base, count):
    powers = np.full(count, base, np.uint64)
    powers[:1] = 1
    return np.cumprod(powers)


def _longest_copy(index):
    """By bisection: what is a copy stays one when it is shortened."""
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
