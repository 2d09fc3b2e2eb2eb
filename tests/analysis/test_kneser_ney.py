"""Kneser-Ney models, against dictionaries by the book."""

import numpy as np
import pytest
from helpers.ngrams import brute_force

from tfcharlm.analysis import KneserNey, kneser_ney_losses


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


def test_losses_of_several_orders_are_those_of_each_model(rng):
    symbols = [0, 1]
    while len(symbols) < 6_000:
        symbols.append((2 * symbols[-1] + symbols[-2]) % 5 if rng.random() < 0.8 else int(rng.integers(5)))
    documents = [np.array(symbols[:2_900]), np.array(symbols[2_900:5_000])]
    held_out = [np.array(symbols[5_000:5_700]), np.array(symbols[5_700:])]
    losses = kneser_ney_losses(documents, held_out, 5, orders=[5, 1, 3, 2])
    expected = {order: KneserNey(documents, order, 5).loss(held_out) for order in (1, 2, 3, 5)}
    assert losses == pytest.approx(expected, rel=1e-12)
    assert min(losses, key=losses.get) == 3, "the order of the text"


def test_an_alphabet_of_any_size(rng):
    """5,000 symbols, 7-grams: the same losses as with the same symbols numbered 0 to 10."""
    size, symbols = 5_000, rng.integers(11, size=1_300)
    few, many = KneserNey([symbols], 7, 11), KneserNey([symbols * 450 + 37], 7, size)
    text = symbols[200:251]
    # Only p_0 differs. Symbols that were never seen leave it its part.
    ratio = many.probabilities([text * 450 + 37]) / few.probabilities([text])
    assert 0.9 < ratio.min() <= ratio.max() <= 1
    documents = [(symbols[:300] * 450 + 37).tolist()]
    expected = brute_force(documents, 7, size)
    model = KneserNey([np.array(document) for document in documents], 7, size)
    text = [37, 4_999, 37 + 450, 37, *documents[0][100:105]]
    wanted = [expected(text[i], tuple(text[:i])) for i in range(1, len(text))]
    np.testing.assert_allclose(model.probabilities([np.array(text)]), wanted, rtol=1e-12)


@pytest.mark.parametrize("order", [0, 4])
def test_an_order_that_documents_do_not_have_is_an_error(order):
    for refuse in (
        lambda: KneserNey([np.zeros(4, int)], order, 3),
        lambda: kneser_ney_losses([np.zeros(4, int)], [np.zeros(4, int)], 3, [2, order]),
    ):
        with pytest.raises(ValueError, match=r"order must be .*from 1.*received " + str(order)):
            refuse()


@pytest.mark.parametrize("symbol", [-1, 3])
def test_a_symbol_that_is_not_in_the_alphabet_is_an_error(symbol):
    model = KneserNey([np.array([0, 1, 2, 1])], 2, 3)
    for use in (model.loss, lambda documents: KneserNey(documents, 1, 3)):
        with pytest.raises(ValueError, match=rf"symbols must be from 0 to below size=3; received .*{symbol}"):
            use([np.array([0, symbol, 1])])
