"""Mixtures of a network with models that count: they are probabilities, and know nothing of what comes later."""

import mixtures
import numpy as np
import pytest
from mixtures import Matches, mixed

import tfcharlm
from tfcharlm.text import Vocabulary


@pytest.fixture(autouse=True)
def small_tables(monkeypatch):
    """Of 4,096 places, which are enough for short texts."""
    monkeypatch.setattr(mixtures, "TABLE_BITS", 12)


def test_matches_are_probabilities_of_what_comes_next(rng):
    """For every next symbol, whatever follows; the sum over all of them is 1."""
    size = 4
    before, text = (rng.integers(2, size=length) for length in (90, 60))
    for end in rng.integers(20, 59, size=10):
        given = [Matches(before, size).read(np.append(text[:end], symbol)) for symbol in range(size)]
        assert sum(probabilities[-1] for probabilities, _ in given) == pytest.approx(1)
        whole, lengths = Matches(before, size).read(text)
        np.testing.assert_array_equal(whole[: end - 1], given[0][0][:-1])
        np.testing.assert_array_equal(lengths[:end], given[0][1])
    assert (lengths >= 5).any() and (whole > 0).all()


def test_a_text_that_is_repeated_is_predicted(rng):
    """Also from the text before, and after a symbol that differs."""
    text = rng.integers(30, size=300)
    changed = np.tile(text, 2)
    changed[450] = 31
    probabilities, lengths = Matches(text, 32).read(changed)
    assert lengths.max() == 32 and probabilities[100:400].min() > 0.6 and probabilities[440] > 0.9
    assert probabilities[449] < 0.1 and lengths[450] == 0 and probabilities[480:].min() > 0.5


def test_the_weights_of_a_mixture_follow_the_best(rng):
    """Against Bayes' rule with a share, in arrays."""
    experts, kinds = rng.uniform(0.01, 1, size=(3, 80)), rng.integers(2, size=80)
    weights = np.tile([0.5, 0.3, 0.2], (2, 1))
    found = mixed(list(experts), kinds.tolist(), [0.5, 0.3, 0.2])
    for i, kind in enumerate(kinds):
        expected = weights[kind] @ experts[:, i]
        assert found[i] == pytest.approx(expected)
        weights[kind] = (1 - mixtures.SHARE) * weights[kind] * experts[:, i] / expected + mixtures.SHARE / 3


@pytest.mark.slow
def test_all_rows_are_bits_of_the_same_characters(rng):
    model = tfcharlm.CharLM(Vocabulary("abc\n"), [tfcharlm.LSTMCell(5)], embedding_dim=3)
    training, held_out = ("".join(rng.choice(list("abc\n"), size)) for size in (400, 150))
    found = mixtures.measured(model, training, held_out)
    assert found["network"] == pytest.approx(model.score(held_out)["bits_per_character"], rel=1e-5)
    adaptive = model.score(held_out, adapt=True)["bits_per_character"]
    assert found["adaptive_network"] == pytest.approx(adaptive, rel=1e-3)
    best = min(found["network"], found["kneser_ney"])
    assert found["mixture"] < best + 0.6 and found["adaptive_mixture"] < best + 0.3
