"""A baseline that only counts: character n-grams with interpolated modified Kneser-Ney smoothing, in NumPy."""

import time

import numpy as np

ORDERS = range(4, 10)


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
        documents: the training data, a list of integer arrays. The first symbol of each is read but not predicted.
        order: n, at most the length of the longest document minus one.
        size: V, the number of different symbols.

    Raises:
        ValueError: the order is too high for the documents, or an n-gram does not fit into 64 bits.

    Reference: Kneser & Ney (1995), Improved backing-off for m-gram language modeling; Chen & Goodman (1999), An
    empirical study of smoothing techniques for language modeling.
    """

    def __init__(self, documents, order, size):
        if size**order >= 2**63:
            raise ValueError(f"{order}-grams of {size} different symbols do not fit into 64 bits; take a lower order.")
        ids, positions = _joined(documents)
        if not 1 <= order <= positions.max(initial=0):
            longest = positions.max(initial=0)
            raise ValueError(f"order must be from 1 to {longest} for these documents; received {order}.")
        self.order, self.size = order, size
        self._levels, longer = [], np.empty(0, np.int64)
        for k in range(order, 0, -1):
            ends, grams = self._grams(ids, positions, k)
            # At lower orders, each (k + 1)-gram counts once, and each k-gram counts once for every document it starts.
            counted = grams if k == order else np.concatenate([longer % size**k, grams[positions[ends] == k - 1]])
            longer, counts = np.unique(counted, return_counts=True)
            self._levels.insert(0, _Level(longer, counts, size))

    def probabilities(self, documents):
        """The probabilities of all symbols but the first of each document, in one array, document after document."""
        ids, positions = _joined(documents)
        result = np.full(len(ids), 1 / self.size)
        for k, level in enumerate(self._levels, start=1):
            ends, grams = self._grams(ids, positions, k)
            result[ends] = level.interpolated(grams, result[ends])
        return result[positions > 0]

    def loss(self, documents):
        """The mean of -log p, in nats per symbol."""
        return -np.log(self.probabilities(documents)).mean()

    def _grams(self, ids, positions, k):
        """(end positions of the k-grams that end with a predicted symbol, these k-grams as one integer each)."""
        ends = np.flatnonzero(positions >= max(k - 1, 1))
        return ends, sum(ids[ends - j] * self.size**j for j in range(k))


class _Level:
    """The k-grams of one k: discounted relative frequencies, and the weight that a context gives to the shorter one."""

    def __init__(self, grams, counts, size):
        discounts = _discounts(counts)[np.minimum(counts, 3)]
        self.size, self.grams = size, grams
        self.contexts, context = np.unique(grams // size, return_inverse=True)
        totals = np.bincount(context, counts)
        self.kept = (counts - discounts) / totals[context]
        self.passed_on = np.bincount(context, discounts) / totals

    def interpolated(self, grams, shorter):
        """p_k of k-grams, from p_{k-1} of their last symbols."""
        seen, context = _find(self.contexts, grams // self.size)
        counted, gram = _find(self.grams, grams)
        return np.where(counted, self.kept[gram], 0) + np.where(seen, self.passed_on[context], 1) * shorter


def best_order(documents, held_out, size, orders=ORDERS):
    """The order whose model of the documents has the lowest loss on held-out documents."""
    return min(orders, key=lambda order: KneserNey(documents, order, size).loss(held_out))


def count_text(training, validation, window):
    """Both losses on a text: with a carried state ("stream"), and in windows ("cold").

    The order is the best one for the last twentieth of the training text.
    """
    began = time.perf_counter()
    (ids, validation), size = _encoded([training, validation])
    border = len(ids) * 19 // 20
    model = KneserNey([ids], best_order([ids[:border]], [ids[border:]], size), size)
    windows = [validation[begin : begin + window + 1] for begin in range(0, len(validation) - 1, window)]
    losses = {"stream": float(model.loss([validation])), "cold": float(model.loss(windows))}
    return {**losses, "order": model.order, "seconds": time.perf_counter() - began}


def count_names(training, held_out):
    """The loss on names, each from newline to newline.

    The order is the best one for the last twentieth of the training names.
    """
    began = time.perf_counter()
    documents, size = _encoded([f"\n{name}\n" for name in [*training, *held_out]])
    training, held_out = documents[: len(training)], documents[len(training) :]
    border = len(training) * 19 // 20
    model = KneserNey(training, best_order(training[:border], training[border:], size), size)
    return {"loss": float(model.loss(held_out)), "order": model.order, "seconds": time.perf_counter() - began}


def _joined(documents):
    """All symbols in one array, and the position of each in its document."""
    lengths = [len(document) for document in documents]
    return np.concatenate(documents).astype(np.int64), np.concatenate([np.arange(length) for length in lengths])


def _discounts(counts):
    """The discounts D(0), D(1), D(2), and D(3) for 3 and more."""
    n = np.bincount(np.minimum(counts, 5), minlength=6)[1:5]
    i = np.array([1, 2, 3])
    with np.errstate(divide="ignore", invalid="ignore"):
        estimates = i - (i + 1) * n[0] / (n[0] + 2 * n[1]) * n[1:] / n[:-1]
    # Few k-grams give odd estimates, or none. A discount must not be 0, or unseen symbols would be impossible.
    return np.concatenate([[0], np.where(n[0] * n[:-1] > 0, np.clip(estimates, 0.1, i), i / 2)])


def _find(values, wanted):
    """(whether each wanted number is one of the sorted values, its position among them)."""
    positions = np.minimum(np.searchsorted(values, wanted), len(values) - 1)
    return values[positions] == wanted, positions


def _encoded(texts):
    """(an array of integers for each text, the number of different characters)."""
    alphabet = sorted(set("".join(texts)))
    number = {character: i for i, character in enumerate(alphabet)}
    return [np.array([number[character] for character in text]) for text in texts], len(alphabet)
