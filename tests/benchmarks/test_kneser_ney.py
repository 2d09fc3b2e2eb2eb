"""benchmarks/kneser_ney.py: the protocols, against dictionaries by the book."""

import numpy as np
import pytest
from helpers.ngrams import brute_force
from helpers.quality import TEXT, TRAINING, VALIDATION
from kneser_ney import count_names, count_text


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
