"""A baseline that only counts: n-grams with interpolated modified Kneser-Ney smoothing, in NumPy."""

from collections.abc import Iterable, Sequence

import numpy as np

from tfcharlm.analysis.ngrams import checked_order, count_ngrams, joined

# With longer contexts the loss on texts of a million characters rises again.
ORDERS = range(1, 10)


class KneserNey:
    r"""An n-gram model: the probability of a symbol w given the n - 1 symbols before it.

    $$ p_k(w \mid h) = \frac{c_k(hw) - D_k(c_k(hw)) + \sum_v D_k(c_k(hv)) \; p_{k-1}(w \mid h')}{\sum_v c_k(hv)},
       \qquad p_0 = \frac{1}{V} $$

    h is the k - 1 symbols before w, and h' is h without its first symbol. The first symbols of a sequence have shorter
    contexts. If a context was never seen, p_k is p_{k-1}. At the order n, c_n counts occurrences. At lower orders, c_k
    counts the different symbols that were seen before hw, with the start of each document as a symbol of its own,
    because a symbol that follows only one context says little about other contexts. The discounts of a count of 1, of
    2, and of 3 or more are estimated from n_i, the number of k-grams with count i:

    $$ D_k(i) = i - (i + 1) \frac{n_1}{n_1 + 2 n_2} \frac{n_{i+1}}{n_i}, \qquad D_k(0) = 0 $$

    Args:
        documents: the training data, a list of integer arrays (length,) with symbols in [0, V). The first symbol of
            each is read but not predicted.
        order: n, at most the length of the longest document minus one.
        size: V, the number of different symbols.

    Raises:
        ValueError: the order is too high for the documents, or a symbol is not in [0, V).

    Example:

    >>> import numpy as np
    >>> from tfcharlm.analysis import KneserNey
    >>> from tfcharlm.text import Vocabulary
    >>> text = "to be or not to be, that is the question"
    >>> vocabulary = Vocabulary.from_text(text, spell=False)
    >>> model = KneserNey([vocabulary.encode(text)], order=3, size=len(vocabulary))
    >>> model.probabilities([vocabulary.encode("to be")]).round(2)
    array([0.24, 0.22, 0.05, 0.28])

    Reference: Kneser & Ney (1995), Improved backing-off for m-gram language modeling; Chen & Goodman (1999), An
    empirical study of smoothing techniques for language modeling.
    """

    def __init__(self, documents: Sequence[np.ndarray], order: int, size: int) -> None:
        ids, positions = joined(documents, size)
        self.order, self.size = checked_order(order, positions), size
        self._levels = [
            _Level(grams, grams.occurrences if grams.n == order else grams.continuations())
            for grams in count_ngrams(ids, positions, order)
        ]

    def probabilities(self, documents: Sequence[np.ndarray]) -> np.ndarray:
        """The probabilities of all symbols but the first of each document.

        Args:
            documents: a list of integer arrays (length,) with symbols in [0, V).

        Returns:
            float64 (symbols,), document after document.
        """
        reader = _Reader(documents, self.size)
        for level in self._levels:
            reader.read(level)
            reader.probabilities = reader.interpolated(level)
        return reader.predicted(reader.probabilities)

    def loss(self, documents: Sequence[np.ndarray]) -> float:
        """The mean of -log p, in nats per symbol.

        Args:
            documents: a list of integer arrays (length,) with symbols in [0, V).
        """
        return float(-np.log(self.probabilities(documents)).mean())


def kneser_ney_losses(
    documents: Sequence[np.ndarray],
    held_out: Sequence[np.ndarray],
    size: int,
    orders: Iterable[int] = ORDERS,
) -> dict[int, float]:
    """The losses of `KneserNey` models of several orders. They share their counts, so it takes the time of one model.

    Args:
        documents: the training data, a list of integer arrays (length,) with symbols in [0, V).
        held_out: the documents to predict, in the same form.
        size: V, the number of different symbols.
        orders: the orders to try; 1 to 9 by default. With more, the loss on a million characters rises again.

    Returns:
        `{order: mean of -log p in nats per symbol}`.

    Raises:
        ValueError: an order is too high for the documents, or a symbol is not in [0, V).

    Example:

    >>> import numpy as np
    >>> from tfcharlm.analysis import kneser_ney_losses
    >>> symbols = np.tile([0, 1, 0, 2], 20)
    >>> losses = kneser_ney_losses([symbols], [symbols[:9]], size=3, orders=[1, 2, 3])
    >>> min(losses, key=losses.get)
    3
    """
    ids, positions = joined(documents, size)
    orders = {checked_order(order, positions) for order in orders}
    reader, losses = _Reader(held_out, size), {}
    for grams in count_ngrams(ids, positions, max(orders, default=0)):
        reader.read(grams)
        if grams.n in orders:
            highest = reader.interpolated(_Level(grams, grams.occurrences))
            losses[grams.n] = float(-np.log(reader.predicted(highest)).mean())
        if grams.n < max(orders):
            reader.probabilities = reader.interpolated(_Level(grams, grams.continuations()))
    return losses


class _Level:
    """The k-grams of one k: their discounted relative frequencies, and what each context leaves to the shorter one.

    Args:
        grams: the `NGrams`.
        counts: c_k of each k-gram.
    """

    def __init__(self, grams, counts):
        self.keys, self.num_shorter = grams.keys, grams.num_shorter
        discounts = _discounts(counts)[np.minimum(counts, 3)]
        totals = np.bincount(grams.contexts, counts, self.num_shorter)
        # A context that only ends documents was followed by nothing. It leaves everything to the shorter one.
        followed = np.maximum(totals, 1)
        self.kept = (counts - discounts) / followed[grams.contexts]
        self.passed_on = np.where(totals, np.bincount(grams.contexts, discounts, self.num_shorter) / followed, 1)


class _Reader:
    """Documents to predict, one level after the other; `probabilities` are those of the levels so far."""

    def __init__(self, documents, size):
        self._ids, self._positions = joined(documents, size)
        self.probabilities = np.full(len(self._ids), 1 / size)
        self._k, self._numbers = 0, np.zeros(len(self._ids), np.int64)

    def read(self, grams):
        """Finds the numbers of the k-grams of the next k. They are -1 where no such k-gram is known."""
        ends = np.flatnonzero((self._positions >= self._k) & (self._numbers >= 0))
        keys = self._ids[ends - self._k] * grams.num_shorter + self._numbers[ends]
        numbers = np.minimum(np.searchsorted(grams.keys, keys), len(grams.keys) - 1)
        self._contexts, self._numbers = self._numbers, np.full(len(self._ids), -1)
        self._numbers[ends] = np.where(grams.keys[numbers] == keys, numbers, -1)
        self._k += 1

    def interpolated(self, level):
        """p_k for all symbols, from the p_{k-1} in `probabilities`."""
        ends = np.flatnonzero(self._positions >= max(self._k - 1, 1))
        context, gram = self._contexts[ends - 1], self._numbers[ends]
        passed_on = np.where(context >= 0, level.passed_on[context], 1)
        result = self.probabilities.copy()
        result[ends] = np.where(gram >= 0, level.kept[gram], 0) + passed_on * result[ends]
        return result

    def predicted(self, values):
        """Those of values, one for each symbol, that are not of the first symbol of a document."""
        return values[self._positions > 0]


def _discounts(counts):
    """The discounts D(0), D(1), D(2), and D(3) for 3 and more."""
    n = np.bincount(np.minimum(counts, 5), minlength=6)[1:5]
    i = np.array([1, 2, 3])
    with np.errstate(divide="ignore", invalid="ignore"):
        estimates = i - (i + 1) * n[0] / (n[0] + 2 * n[1]) * n[1:] / n[:-1]
    # Few k-grams give odd estimates, or none. A discount must not be 0, or unseen symbols would be impossible.
    return np.concatenate([[0], np.where(n[0] * n[:-1] > 0, np.clip(estimates, 0.1, i), i / 2)])
