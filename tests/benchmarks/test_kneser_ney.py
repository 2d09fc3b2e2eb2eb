"""benchmarks/kneser_ney.py: probabilities of n-grams against dictionaries by the book."""

import collections
import functools

import numpy as np
import pytest
from helpers.quality import TEXT, TRAINING, VALIDATION
from kneser_ney import KneserNey, best_order, count_names, count_text


def brute_force(documents, order, size):
    """A function of (w, h), by the book: dictionaries, sets of predecessors, and the recursion."""
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


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_kneser_ney_is_that_of_dictionaries(rng, order):
    size = 5
    # The last symbol is never seen, and contexts of any length begin documents.
    documents = [rng.integers(size - 1, size=length) for length in (47, 1, 2, 13, 6)]
    model, expected = KneserNey(documents, order, size), brute_force([d.tolist() for d in documents], order, size)
    texts = [rng.integers(size, size=length).tolist() for length in (19, 2, 8)]
    wanted = [expected(text[i], tuple(text[:i])) for text in texts for i in range(1, len(text))]
    np.testing.assert_allclose(model.probabilities([np.array(text) for text in texts]), wanted, rtol=1e-12)
    assert model.loss([np.array(text) for text in texts]) == pytest.approx(-np.log(wanted).mean())


def test_probabilities_of_kneser_ney_add_up_to_one(rng):
    size = 11
    symbols = rng.choice(size - 1, p=(p := rng.random(size - 1)) / p.sum(), size=3_000)
    model = KneserNey([symbols[:1_900], symbols[1_900:]], order=4, size=size)
    contexts = [symbols[i : i + length] for i in (0, 5, 1_898) for length in (1, 2, 3, 6)]
    contexts += [rng.integers(size, size=length) for length in (1, 3, 7)]
    contexts += [np.full(4, size - 1)]
    for context in contexts:
        sentences = [np.append(context, w) for w in range(size)]
        last = model.probabilities(sentences).reshape(size, -1)[:, -1]
        assert last.min() > 0
        assert abs(last.sum() - 1) < 1e-12


def test_the_order_is_that_of_the_text(rng):
    symbols = [0, 1]
    while len(symbols) < 6_000:
        symbols.append((2 * symbols[-1] + symbols[-2]) % 5 if rng.random() < 0.8 else int(rng.integers(5)))
    assert best_order([np.array(symbols[:5_000])], [np.array(symbols[5_000:])], 5, orders=[1, 2, 3, 5]) == 3


@pytest.mark.parametrize("order", [0, 4])
def test_an_order_that_documents_do_not_have_is_an_error(order):
    with pytest.raises(ValueError, match=f"order must be from 1 to 3.*received {order}"):
        KneserNey([np.zeros(4, int)], order, 3)
    with pytest.raises(ValueError, match="do not fit into 64 bits"):
        KneserNey([np.zeros(99, int)], 8, 256)


def test_an_n_gram_of_a_text_or_of_names_is_scored_by_the_same_protocols():
    record = count_text(TRAINING, VALIDATION, window=64)
    symbol = sorted(set(TEXT)).index
    training, validation = ([symbol(c) for c in text] for text in (TRAINING, VALIDATION))
    probability = brute_force([training], record["order"], len(set(TEXT)))
    whole = [probability(validation[i], tuple(validation[:i])) for i in range(1, len(validation))]
    assert record["stream"] == pytest.approx(-np.log(whole).mean())
    cold = [
        probability(validation[i], tuple(validation[begin:i]))
        for begin in range(0, len(validation) - 1, 64)
        for i in range(begin + 1, min(begin + 64, len(validation) - 1) + 1)
    ]
    assert len(cold) == len(whole)
    assert record["cold"] == pytest.approx(-np.log(cold).mean())

    names = ["anna", "bob", "hannahbanana", "abba", "nob"] * 10
    record = count_names(names, ["ann", "b"])
    documents = [["\nabhno".index(c) for c in f"\n{name}\n"] for name in [*names, "ann", "b"]]
    probability = brute_force(documents[:-2], record["order"], 6)
    expected = [probability(d[i], tuple(d[:i])) for d in documents[-2:] for i in range(1, len(d))]
    assert len(expected) == len("ann\n") + len("b\n")
    assert record["loss"] == pytest.approx(-np.log(expected).mean())
