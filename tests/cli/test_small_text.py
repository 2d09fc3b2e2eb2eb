"""What `tfcharlm train` says about small texts."""

import types

import numpy as np
import pytest
from helpers.ngrams import brute_force

from tfcharlm.commands import small_text
from tfcharlm.text import TextSplit


@pytest.mark.parametrize(("level", "rows"), [("char", 3), ("word", 2), ("byte", 5)])
def test_the_baseline_is_the_best_order_of_dictionaries(rng, level, rows, monkeypatch):
    """On the rows that validation reads, in bits for each character."""
    monkeypatch.setattr(small_text, "HIGHEST_ORDER", 3)
    # Only the first byte of a character counts as a character.
    text = "".join(rng.choice(list("abé \n"), p=[0.4, 0.2, 0.1, 0.2, 0.1], size=900))
    split = TextSplit.from_text(text, level, validation_fraction=0.2)
    ids, size = split.validation_ids.tolist(), len(split.vocabulary)
    targets = len(ids) - 1
    length = -(-targets // rows)
    nats = []
    for order in (1, 2, 3):
        probability = brute_force([split.train_ids.tolist()], order, size)
        contexts = [(ids[i], tuple(ids[(i - 1) // length * length : i])) for i in range(1, len(ids))]
        nats.append(-sum(np.log(probability(w, h)) for w, h in contexts))
    characters = len(split.vocabulary.decode(ids)) - len(split.vocabulary.decode(ids[:1]))
    if level == "byte":
        held_out = bytes(ids[1:])
        characters = sum(not 0x80 <= byte < 0xC0 for byte in held_out)
    baseline = small_text.kneser_ney_baseline(split, rows)
    assert baseline.order == 1 + int(np.argmin(nats))
    assert baseline.bits_per_character == pytest.approx(min(nats) / np.log(2) / characters)


def test_there_is_no_baseline_for_large_texts_and_one_for_the_smallest(monkeypatch):
    assert small_text.kneser_ney_baseline(TextSplit.from_text("abab"), rows=1).order == 1
    monkeypatch.setattr(small_text, "MAX_TOKENS", 2)
    assert small_text.kneser_ney_baseline(TextSplit.from_text("ababa"), rows=1) is None


def result(loss, ended_early=False):
    history = [
        types.SimpleNamespace(seconds=seconds, val_loss=val, step=9) for seconds, val in [(61, 2.0), (125.9, 1.5)]
    ]
    history.append(types.SimpleNamespace(seconds=180.0, val_loss=1.8, step=9))
    return types.SimpleNamespace(val_bits_per_character=loss, ended_early=ended_early, history=tuple(history))


def test_a_model_that_is_worse_than_counting_is_told_both_numbers():
    baseline = small_text.Baseline(5, 2.25)
    line = small_text.warning(baseline, result(2.5))
    assert "5-gram" in line and "2.2500" in line and "2.5000" in line and "--minutes" in line and "--from" in line
    # After an early end, more minutes are no use.
    early = small_text.warning(baseline, result(2.5, ended_early=True))
    assert "--minutes" not in early and "--from" in early
    # A model that began from another one is not advised to do so.
    again = small_text.warning(baseline, result(2.5), began_from_model=True)
    assert "--from" not in again and again.endswith("Train longer (--minutes), or train on more text.")
    last = small_text.warning(baseline, result(2.5, ended_early=True), began_from_model=True)
    assert last.endswith("2.5000. Train on more text.")
    assert small_text.warning(baseline, result(2.25)) is None
    assert small_text.warning(baseline, result(None)) is None, "interrupted"


def test_an_early_end_is_told_with_the_minute_of_the_best_weights():
    assert small_text.early_end(result(2.5)) is None
    began = types.SimpleNamespace(step=0, val_loss=1.0, seconds=0.0)
    kept = types.SimpleNamespace(ended_early=True, history=(began, *result(2.5).history))
    assert small_text.early_end(kept).endswith("The model is the one that the run began from.")
    assert "The best loss is that of 02:05." in small_text.early_end(result(2.5, ended_early=True))


def test_what_to_expect_of_little_text():
    def split(characters, kind="stream"):
        return types.SimpleNamespace(train_characters=characters, kind=kind)

    line = small_text.expectation(split(20_000), begins_from_model=False)
    assert line.startswith("20,000 characters to train on are few: expect invented words.") and "--from MODEL" in line
    assert "--from" not in small_text.expectation(split(20_000), begins_from_model=True)
    assert small_text.expectation(split(small_text.LITTLE), begins_from_model=False) is None
    assert small_text.expectation(split(20_000, "lines"), begins_from_model=False) is None, "names are invented words"
