"""One item a line: each a row with its end, batches of like length, and measures that no batch changes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.batches import check_every_line_is_a_row_with_its_end, elements
from hypothesis import given, settings
from hypothesis import strategies as st

import tfcharlm
from tfcharlm.text import Vocabulary, line_dataset

LINES = given(
    lines=st.lists(st.text("abc", max_size=25), min_size=1, max_size=40),
    rows=st.integers(1, 9),
    seed=st.none() | st.integers(0, 2**40),
)


@settings(max_examples=8, deadline=None)
@LINES
def test_every_line_is_a_row_with_its_end(lines, rows, seed):
    check_every_line_is_a_row_with_its_end(lines, rows, seed)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@LINES
def test_many_lines_are_rows_with_their_ends(lines, rows, seed):
    check_every_line_is_a_row_with_its_end(lines, rows, seed)


def test_lines_of_like_length_are_together_and_orders_differ(rng):
    lines = ["a" * size for size in rng.integers(1, 60, size=700)]
    vocabulary = Vocabulary("\na")
    epochs = []
    for seed in (None, 1, 1, 2):
        batches = elements(line_dataset(lines, vocabulary, 16, seed=seed, epochs=2))
        real = np.mean(np.concatenate([weights.ravel() for *_, weights in batches]))
        assert real > 0.9, "more than a tenth is padding"
        widths = [tokens.shape[1] for tokens, *_ in batches]
        counts = [tuple(weights.sum(axis=1)) for *_, weights in batches]
        epochs += [(widths[:44], counts[:44]), (widths[44:], counts[44:])]
    assert epochs[0] == epochs[1] and epochs[0][0] == sorted(epochs[0][0])
    assert epochs[2:4] == epochs[4:6]
    assert len({str(order) for order in epochs[2:]}) == 4


@pytest.mark.parametrize(
    ("lines", "vocabulary", "message"),
    [
        (["a", "b\n"], Vocabulary("ab\n"), r"received 'b\\n' at position 1"),
        (["a", 7], Vocabulary("ab\n"), "received 7 at position 1"),
        ([], Vocabulary("ab\n"), "one or more"),
        (["a"], Vocabulary("ab"), "must have the newline"),
        (["a", "bz"], Vocabulary("ab\n"), r"'z' \(U\+007A\) at position 3 \(line 2, column 2\)"),
    ],
)
def test_bad_lines(lines, vocabulary, message):
    with pytest.raises(ValueError, match=message) as caught:
        line_dataset(lines, vocabulary, 2)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_measures_of_lines_are_those_of_numpy_whatever_the_batch(rng, small_graphs):
    """Loss, perplexity, accuracy and bits per character, counted by hand from the logits of single lines."""
    vocabulary = Vocabulary("\nabcde")
    lines = ["".join(rng.choice(list("abcde"), size=size)) for size in rng.integers(1, 23, size=57)]
    model = tfcharlm.CharLM(vocabulary, [tfcharlm.LSTMCell(9), tfcharlm.RNNCell(4)], embedding_dim=3)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    model.compile()
    logits_of = tf.function(model, input_signature=[tf.TensorSpec((1, None), tf.int32)], autograph=False)
    losses, hits = [], []
    for line in lines:
        ids = vocabulary.encode(f"\n{line}\n")
        logits = logits_of(ids[None, :-1]).numpy()[0].astype(np.float64)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        losses += (-log_p[np.arange(len(ids) - 1), ids[1:]]).tolist()
        hits += (logits.argmax(axis=1) == ids[1:]).tolist()
    loss = np.mean(losses)
    expected = {
        "loss": loss,
        "perplexity": np.exp(loss),
        "bits_per_character": loss / np.log(2),
        "accuracy": np.mean(hits),
    }
    for rows in (1, 7, 57, 100):
        for seed in (None, 3):
            measured = model.evaluate(line_dataset(lines, vocabulary, rows, seed), return_dict=True, verbose=0)
            assert measured.keys() == expected.keys()
            for name, value in expected.items():
                assert measured[name] == pytest.approx(value, rel=1e-6), (name, rows, seed)
    assert {v.dtype for m in model.metrics for v in m.variables} == {"float64"}
    wide = [keras.utils.pad_sequences([vocabulary.encode(f"\n{line}\n")], 40, padding="post")[0] for line in lines]
    wide = np.array(wide)
    weights = np.arange(39) < np.array([[len(line) + 1] for line in lines])
    padded = model.evaluate(wide[:, :-1], wide[:, 1:], sample_weight=weights, batch_size=8, return_dict=True, verbose=0)
    for name, value in expected.items():
        assert padded[name] == pytest.approx(value, rel=1e-6), name
