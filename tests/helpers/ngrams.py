"""Probabilities of n-grams by the book: dictionaries, sets and a recursion."""

import collections
import functools


def brute_force(documents, order, size):
    """A function of (w, h), the Kneser-Ney probability of w after h."""
    before = collections.defaultdict(list)
    for number, document in enumerate(documents):
        for end in range(1, len(document)):
            for k in range(1, min(order, end + 1) + 1):
                gram = tuple(document[end - k + 1 : end + 1])
                before[gram].append(document[end - k] if end >= k else ("beginning", number))
    counts = {gram: len(found if len(gram) == order else set(found)) for gram, found in before.items()}

    @functools.cache
    def discount(k, count):
        n = collections.Counter(count for gram, count in counts.items() if len(gram) == k)
        i = min(count, 3)
        if not n[i] or not n[1]:
            return i / 2
        estimate = i - (i + 1) * n[1] / (n[1] + 2 * n[2]) * n[i + 1] / n[i]
        return min(max(estimate, 0.1), i)

    def probability(w, h):
        h = h[max(len(h) - order + 1, 0) :]
        shorter = probability(w, h[1:]) if h else 1 / size
        own = {v: counts[*h, v] for v in range(size) if (*h, v) in counts}
        if not own:
            return shorter
        k, total = len(h) + 1, sum(own.values())
        kept = own[w] - discount(k, own[w]) if w in own else 0
        return (kept + sum(discount(k, count) for count in own.values()) * shorter) / total

    return probability
