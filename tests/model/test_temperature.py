"""The temperature of a trained model: against a search in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.models import SIZE, make_model

from tfcharlm.model import fit_temperature
from tfcharlm.model.temperature import SCALES
from tfcharlm.text import stream_dataset


def random_stream(rng, ids=None):
    return stream_dataset(rng.integers(SIZE, size=700) if ids is None else ids, batch_size=3, sequence_length=20)


def with_weights(rng, ids):
    """Chunks of four streams, some of whose tokens do not count; their states are carried."""
    inputs, targets = (part.reshape(4, 48, 20).swapaxes(0, 1) for part in (ids[:3840], ids[1:3841]))
    start, weights = np.arange(48)[:, None] == np.zeros(4), rng.integers(0, 3, size=inputs.shape)
    # Behind the last token that counts, nothing is read.
    weights[..., -1] = 1
    return tf.data.Dataset.from_tensor_slices(({"tokens": inputs, "start": start}, targets, weights))


@pytest.fixture(scope="module")
def written():
    """A model and a text that it wrote."""
    keras.utils.set_random_seed(8)
    model, rng = make_model(skip_connections=True), np.random.default_rng(8)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
    model.compile()
    return model, model.get_weights(), model.vocabulary.encode(model.generate("a", max_length=4000, seed=5))


def sharpened(written, factor):
    """The model with logits that are too large by a factor, and the text."""
    model, weights, ids = written
    model.head.trainable = True
    model.set_weights([*weights[:-2], *(array * factor for array in weights[-2:])])
    return model, ids


def loss_at(model, data, temperature):
    kernel, bias = (variable.numpy() for variable in model.head.weights)
    model.head.set_weights([kernel / temperature, bias / temperature])
    loss = model.evaluate(data, verbose=0, return_dict=True)["loss"]
    model.head.set_weights([kernel, bias])
    return loss


@pytest.mark.parametrize(("make_data", "factor"), [(random_stream, 1.2), (with_weights, 0.97)])
def test_it_is_the_temperature_with_the_lowest_loss(rng, written, make_data, factor):
    model, ids = sharpened(written, factor)
    data = make_data(rng, ids)
    tried = np.linspace(factor - 0.12, factor + 0.12, 13)
    losses = [loss_at(model, data, temperature) for temperature in tried]
    before, others = model.head.get_weights(), model.get_weights()[:-2]
    temperature = fit_temperature(model, data)
    # Of so short a text, the best temperature is not exactly that of the model.
    assert temperature == pytest.approx(factor, abs=0.12)
    assert temperature == pytest.approx(tried[int(np.argmin(losses))], abs=0.025)
    assert loss_at(model, data, 1.0) <= min(losses) * (1 + 1e-4)
    for array, scaled in zip(before, model.head.get_weights(), strict=True):
        np.testing.assert_allclose(scaled * temperature, array, rtol=1e-6)
    for array, other in zip(others, model.get_weights()[:-2], strict=True):
        np.testing.assert_array_equal(array, other)


def test_it_stays_within_what_is_tried(rng, written):
    (model, _), data = sharpened(written, 100.0), random_stream(rng)
    assert fit_temperature(model, data) == pytest.approx(1 / min(SCALES))


def test_a_frozen_head_and_a_loss_that_is_not_finite_change_nothing(rng, written):
    (model, _), data = sharpened(written, 100.0), random_stream(rng)
    before = model.get_weights()
    model.head.trainable = False
    assert fit_temperature(model, data) == 1
    model.head.trainable = True
    model.head.bias.assign(np.full(SIZE, np.nan))
    assert fit_temperature(model, data) == 1
    for array, other in zip(before[:-1], model.get_weights()[:-1], strict=True):
        np.testing.assert_array_equal(array, other)
