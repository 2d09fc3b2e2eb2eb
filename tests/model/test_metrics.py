"""Loss and metrics: by token, by character, with weights, padding and penalties."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.models import (
    BATCH,
    EMBEDDING,
    SIZE,
    TIME,
    VOCABULARY,
    check_a_row_continues_after_padding,
    check_padding_changes_nothing,
)

import tfcharlm
from tfcharlm import reference
from tfcharlm.model.metrics import BitsPerCharacter
from tfcharlm.text import Vocabulary, stream_dataset


def test_padding_changes_nothing_whatever_is_in_it(rng, pair):
    check_padding_changes_nothing(rng, pair[0])


def test_a_row_continues_after_padding_where_its_text_ended(rng, pair):
    check_a_row_continues_after_padding(rng, *pair)


def test_metrics_count_tokens_not_batches(rng, pair, small_graphs):
    model, parameters = pair
    model.compile(weighted_metrics=["accuracy"])
    rows = 7
    tokens, targets = rng.integers(SIZE, size=(2, rows, TIME))
    weights = (np.arange(TIME) < rng.integers(0, TIME + 1, size=(rows, 1))).astype(np.float32)
    expected, _, _ = reference.loss_and_gradients(parameters, tokens, targets, weights=weights)
    logits, _, _ = reference.step(parameters, tokens, reference.initial_state(parameters, rows))
    accuracy = ((logits.argmax(-1) == targets) * weights).sum() / weights.sum()
    for batch_size in (1, 3, 7):
        result = model.evaluate(
            tokens, targets, sample_weight=weights, batch_size=batch_size, verbose=0, return_dict=True
        )
        assert result["loss"] == pytest.approx(expected, rel=1e-6)
        assert result["bits_per_character"] == pytest.approx(expected / np.log(2), rel=1e-6)
        assert result["accuracy"] == pytest.approx(accuracy, rel=1e-6)


@pytest.mark.parametrize(
    ("level", "text"),
    [("word", "to be, or not to be: that's it\n" * 3), ("byte", "naïve café\n" * 9)],
    ids=["word", "byte"],
)
def test_bits_per_character_are_comparable_between_levels(level, text, small_graphs):
    vocabulary = Vocabulary.from_text(text, level)
    model = tfcharlm.CharLM(vocabulary, [tfcharlm.RNNCell(4)])
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])  # every token has the same probability
    model.compile()
    ids = vocabulary.encode(text)
    result = model.evaluate(stream_dataset(ids, 2, 5, drop_remainder=False), verbose=0, return_dict=True)
    scored = len(text) - len(vocabulary.decode(ids[:1]))
    assert result["loss"] == pytest.approx(np.log(len(vocabulary)), rel=1e-6)
    assert result["bits_per_character"] == pytest.approx((len(ids) - 1) * np.log2(len(vocabulary)) / scored, rel=1e-6)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, TIME)])
def test_weights_by_row_or_by_token(rng, pair, shape, small_graphs):
    model, parameters = pair
    model.compile()
    tokens, targets = rng.integers(SIZE, size=(2, 3, TIME))
    weights = rng.uniform(0.1, 2, size=shape)
    by_token = np.broadcast_to(weights.reshape(3, -1), (3, TIME))
    expected, _, _ = reference.loss_and_gradients(parameters, tokens, targets, weights=by_token)
    data = tf.data.Dataset.from_tensors((tokens, targets, weights))
    assert model.evaluate(data, verbose=0, return_dict=True)["loss"] == pytest.approx(expected, rel=1e-10)


def test_bits_per_character_of_nothing_is_zero():
    assert float(BitsPerCharacter().result()) == 0


def test_regularization_is_in_the_loss_and_not_in_the_bits(rng, small_graphs):
    cell = tfcharlm.LSTMCell(5, kernel_regularizer=keras.regularizers.L2(0.1))
    model = tfcharlm.CharLM(VOCABULARY, [cell], embedding_dim=EMBEDDING)
    model.compile()
    tokens, targets = rng.integers(SIZE, size=(2, BATCH, TIME))
    result = model.evaluate(tokens, targets, verbose=0, return_dict=True)
    penalty = 0.1 * np.square(cell.kernel.numpy()).sum()
    assert result["loss"] == pytest.approx(result["bits_per_character"] * np.log(2) + penalty, rel=1e-5)
