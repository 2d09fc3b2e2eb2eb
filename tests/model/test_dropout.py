"""Dropout with one mask for each row and chunk, of outputs, vectors and recurrent weights."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.models import EMBEDDING, LAYERS, SIZE, TIME, VOCABULARY, compile_model, make_model
from helpers.reference_layers import flat

import tfcharlm
from tfcharlm import reference
from tfcharlm.kernels import shards
from tfcharlm.model.dropout import SequenceDropout
from tfcharlm.text import stream_dataset


def test_dropout_is_one_mask_for_each_row_and_chunk(rng, short_turns_and_two_shards):
    """Logits and gradient with the masks known, compiled (so in two shards) and not: NumPy, finite differences."""
    parameters = reference.random_parameters(rng, SIZE, EMBEDDING, LAYERS, scale=0.7)
    rates = {"dropout": 0.4, "input_dropout": 0.3, "weight_drop": 0.25}
    model = make_model(**rates, dropout_seed=7)
    model.set_weights(flat(parameters))
    rows = 9
    tokens = rng.integers(SIZE, size=(rows, TIME))
    targets = rng.integers(SIZE, size=(rows, TIME))

    @tf.function
    def read(tokens, training):
        return model.step(tokens, model.initial_state(rows), training=training)[0]

    def logits_of(number):
        dropout = SequenceDropout(7, **rates)
        dropout.counter.assign(number)
        masks = tf.nest.map_structure(np.asarray, dropout.draw(rows, EMBEDDING, [5, 3], [(5, 20), (3, 3)]))
        lstm, rnn = (
            weights._replace(recurrent_kernel=weights.recurrent_kernel * mask)
            for weights, mask in zip(parameters.recurrent, masks.recurrent, strict=True)
        )
        vectors = parameters.embedding[tokens] * masks.inputs[:, None]
        outputs = reference.lstm_forward(lstm, vectors)[0] * masks.outputs[0][:, None]
        outputs = reference.rnn_forward(rnn, outputs)[0] * masks.outputs[1][:, None]
        return outputs @ parameters.head_kernel + parameters.head_bias

    for number in range(3):
        np.testing.assert_allclose(read(tf.constant(tokens), True), logits_of(number), rtol=1e-6, atol=1e-6)
    untouched = reference.step(parameters, tokens, reference.initial_state(parameters, rows))[0]
    np.testing.assert_allclose(read(tf.constant(tokens), False), untouched, rtol=1e-12, atol=1e-12)
    assert model.dropout_masks.counter.numpy() == 3, "reading without training draws nothing"

    def loss(weights):
        model.set_weights(weights)
        model.dropout_masks.counter.assign(5)
        with tf.GradientTape() as tape:
            logits = model.step(tf.constant(tokens), model.initial_state(rows), training=True)[0]
            value = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits))
        return value.numpy(), [tf.convert_to_tensor(g).numpy() for g in tape.gradient(value, model.trainable_variables)]

    weights = flat(parameters)
    direction = [rng.normal(size=w.shape) for w in weights]
    ahead, behind = ([w + e * d for w, d in zip(weights, direction, strict=True)] for e in (1e-5, -1e-5))
    numerical = (loss(ahead)[0] - loss(behind)[0]) / 2e-5
    exact = sum(np.sum(g * d) for g, d in zip(loss(weights)[1], direction, strict=True))
    assert exact == pytest.approx(numerical, rel=1e-6)


def test_masks_of_dropout(rng):
    """A function of (seed, how many), of the right mean; no two rows or layers the same."""
    rates = dict(zip(("dropout", "input_dropout", "weight_drop"), rng.uniform(0.1, 0.8, 3).tolist(), strict=True))

    def draws(seed, count=1, **rates):
        dropout = SequenceDropout(seed, **rates)
        drawn = [dropout.draw(200, 400, [500, 300], [(200, 400), (3, 7)]) for _ in range(count)]
        return [tf.nest.map_structure(lambda mask: mask if mask is None else mask.numpy(), masks) for masks in drawn]

    first, second = draws(3, 2, **rates)
    wide, narrow = first.outputs
    for mask, rate in zip((wide, first.inputs, first.recurrent[0]), rates.values(), strict=True):
        assert np.mean(mask == 0) == pytest.approx(rate, abs=0.01) and mask.mean() == pytest.approx(1, abs=0.03)
    assert len({row.tobytes() for row in wide}) == 200 and first.recurrent[1].shape == (3, 7)
    # Of all that is drawn at once, no two are the same draws.
    for one, other in itertools.combinations([wide[:, :300], narrow, first.inputs[:, :300]], 2):
        assert 0.05 < np.mean((one == 0) == (other == 0)) < 0.95
    np.testing.assert_array_equal(draws(3, **rates)[0].recurrent[0], first.recurrent[0])
    for others in (second, draws(4, **rates)[0]):
        for one, other in zip(tf.nest.flatten(first), tf.nest.flatten(others), strict=True):
            assert not np.array_equal(one, other)
    only = draws(3, weight_drop=rates["weight_drop"])[0]
    np.testing.assert_array_equal(only.recurrent[0], first.recurrent[0])
    assert only.inputs is None and only.outputs == ()


@pytest.mark.parametrize(
    "arguments",
    [
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"dropout": "a"},
        {"dropout_seed": -1},
        {"input_dropout": 1},
        {"weight_drop": 2},
    ],
)
def test_dropout_that_cannot_be(arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} must be .* received"):
        make_model(**arguments)


@pytest.mark.slow
@pytest.mark.parametrize(
    "cell", [keras.layers.SimpleRNNCell, pytest.param(keras.layers.GRUCell, marks=pytest.mark.slow)]
)
def test_dropout_of_keras_cells_is_drawn_again_for_every_batch(rng, monkeypatch, cell):
    """Batches of other sizes and shards of unequal lengths: masks of an earlier one would not fit."""
    monkeypatch.setattr(shards, "shard_count", lambda rows: 2)
    model = tfcharlm.CharLM(VOCABULARY, [cell(4, dropout=0.5, recurrent_dropout=0.5)])
    compile_model(model, keras.optimizers.Adam(0.01))
    for batch in (3, 5):
        model.fit(stream_dataset(rng.integers(SIZE, size=200), batch, 8), verbose=0)
    tokens = tf.constant(rng.integers(SIZE, size=(3, TIME)))
    draws = [model.step(tokens, model.initial_state(3), training=True)[0].numpy() for _ in range(2)]
    assert not np.allclose(*draws)
