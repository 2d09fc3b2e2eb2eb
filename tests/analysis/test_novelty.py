"""How much of a text is copied: against brute force, and with hashes that collide."""

import difflib

import numpy as np
import pytest
from helpers.copies import check_equal_hashes_of_other_texts_are_no_copies
from hypothesis import given, settings
from hypothesis import strategies as st

from tfcharlm.analysis import novelty_report


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text("ab\u00e9\n", max_size=20), min_size=1, max_size=4).filter(any),
    corpus=st.text("ab\u00e9\n", min_size=1, max_size=60),
)
def test_novelty_is_what_brute_force_finds(texts, corpus):
    report = novelty_report(texts, corpus, lengths=(1, 2, 3, 7))
    for length, copied in report.copied.items():
        grams = [text[i : i + length] for text in texts for i in range(len(text) - length + 1)]
        if not grams:
            assert copied is None
        else:
            assert copied == pytest.approx(np.mean([gram in corpus for gram in grams]))
    blocks = [difflib.SequenceMatcher(None, text, corpus, autojunk=False).find_longest_match() for text in texts]
    assert len(report.longest_copy) == max(block.size for block in blocks)
    assert report.longest_copy in corpus and any(report.longest_copy in text for text in texts)
    lines = [line for text in texts for line in (text.split("\n") if text.strip("\n") else ["nothing"]) if line]
    assert report.known == pytest.approx(np.mean([line in corpus.split("\n") for line in lines]))
    assert report.repeated == pytest.approx(np.mean([text in texts[:i] for i, text in enumerate(texts)]))


def test_equal_hashes_of_other_texts_are_no_copies():
    check_equal_hashes_of_other_texts_are_no_copies()


@pytest.mark.parametrize("arguments", [("", "a"), ([], "a"), ("a", ""), ("a", "a", (0,)), ("a", ["a"])])
def test_bad_arguments_of_novelty(arguments):
    with pytest.raises(ValueError, match=r"texts and corpus must have|lengths must be|corpus must be"):
        novelty_report(*arguments)
