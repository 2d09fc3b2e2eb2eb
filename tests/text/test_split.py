"""A text cut in two: its tokens counted, and the characters that they stand for."""

from collections import Counter

import numpy as np
import pytest

from tfcharlm.text import TextSplit, parts

TEXT = "to be, or not to bé:\n\tthat is the question. ☃☃\n" * 7 + "z zz"


@pytest.mark.parametrize("level", ["char", "byte", "word"])
@pytest.mark.parametrize("chunk", [1, 10, 1 << 20])
def test_tokens_and_characters_of_the_first_part_are_counted(level, chunk, monkeypatch):
    monkeypatch.setattr(parts, "CHUNK", chunk)
    cut = TextSplit.from_text(TEXT, level, validation_fraction=0.3)
    decoded = cut.vocabulary.decode(cut.train_ids)
    counts = Counter(cut.train_ids.tolist())
    assert cut.train_token_counts.tolist() == [counts[i] for i in range(len(cut.vocabulary))]
    assert cut.train_token_counts.sum() == len(cut.train_ids) and 0 in cut.train_token_counts.tolist()
    # A character that the cut parts counts with the bytes that it has on this side.
    expected = len(decoded) - (decoded[-1] == "\ufffd")
    assert expected <= cut.train_characters <= expected + 1


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.9, 0.999])
def test_the_end_is_held_out_and_at_least_two_tokens_of_it(fraction):
    cut = TextSplit.from_text(TEXT, validation_fraction=fraction)
    assert cut.vocabulary.decode(np.concatenate([cut.train_ids, cut.validation_ids])) == TEXT
    assert len(cut.train_ids) == min(int(len(TEXT) * (1 - fraction)), len(TEXT) - 2)
    assert len(TextSplit.from_text("abc", validation_fraction=0.1).validation_ids) == 2
