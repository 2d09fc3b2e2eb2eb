"""A small CharLM in float64 beside the reference's parameters with the same numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcharlm
from helpers.reference_layers import flat
from tfcharlm import reference
from tfcharlm.text import Vocabulary

VOCABULARY = Vocabulary("abcdefghijk")
SIZE = len(VOCABULARY)
LAYERS = [("lstm", 5), ("rnn", 3)]
BATCH, TIME, EMBEDDING = 4, 6, 2


def make_model(dtype="float64", **arguments):
    cells = [tfcharlm.LSTMCell(5, dtype=dtype), tfcharlm.RNNCell(3, dtype=dtype)]
    return tfcharlm.CharLM(VOCABULARY, cells, embedding_dim=EMBEDDING, dtype=dtype, **arguments)


def compile_model(model, optimizer):
    """Compiles a model and builds its optimizer: `fit` would do it in its first step, and trace that step twice."""
    model.compile(optimizer)
    model.optimizer.build(model.trainable_variables)


def make_pair(rng):
    """A model and the reference's parameters with the same numbers."""
    parameters = reference.random_parameters(rng, SIZE, EMBEDDING, LAYERS, scale=0.7)
    model = make_model()
    model.set_weights(flat(parameters))
    return model, parameters


def check_fit_is_truncated_backpropagation(rng, model, parameters, chunks=50):
    """Updates of `fit`, row by row the same losses and weights as the loop in NumPy, resets included."""
    tokens = rng.integers(SIZE, size=(chunks, BATCH, TIME))
    targets = rng.integers(SIZE, size=(chunks, BATCH, TIME))
    start = rng.random((chunks, BATCH)) < 0.2
    start[0] = True

    states, losses = reference.initial_state(parameters, BATCH), []
    for x, y, begins in zip(tokens, targets, start, strict=True):
        states = keras.tree.map_structure(lambda s, begins=begins: np.where(begins[:, None], 0.0, s), states)
        loss, gradients, states = reference.loss_and_gradients(parameters, x, y, states=states)
        gradients, _ = reference.clip_by_global_norm(gradients, 0.25)
        updated = [
            reference.sgd(p, g, learning_rate=0.5)[0] for p, g in zip(flat(parameters), flat(gradients), strict=True)
        ]
        parameters = keras.tree.pack_sequence_as(parameters, updated)
        losses.append(loss)

    seen = []
    record = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: seen.append(float(logs["loss"])))
    compile_model(model, keras.optimizers.SGD(0.5, global_clipnorm=0.25))
    data = tf.data.Dataset.from_tensor_slices(({"tokens": tokens, "start": start}, targets))
    model.fit(data, verbose=0, callbacks=[record])
    running_means = np.cumsum(losses) / np.arange(1, chunks + 1)
    np.testing.assert_allclose(seen, running_means, rtol=1e-9)
    for weight, expected in zip(model.get_weights(), flat(parameters), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-9, atol=1e-12)


def check_padding_changes_nothing(rng, model):
    """Whatever is in it: the same loss, and the same weights after the next step."""
    weights = np.array([[1, 1, 1, 1, 1, 1], [1, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0, 2, 0.5, 0, 0, 0]])
    padding = np.cumsum(weights[:, ::-1] != 0, axis=1)[:, ::-1] == 0
    tokens, targets = rng.integers(SIZE, size=(2, BATCH, TIME))
    initial = model.get_weights()
    # One training function for all, and an optimizer that keeps nothing between two fits.
    compile_model(model, keras.optimizers.SGD(1.0))
    outcomes = []
    for garbage in (0, 7, -5, 10**6):
        x, y = np.where(padding, garbage, tokens), np.where(weights == 0, garbage, targets)
        model.set_weights(initial)
        start = np.ones(BATCH, bool)
        batches = tf.data.Dataset.from_tensors(({"tokens": x, "start": start}, y, weights))
        continuation = tf.data.Dataset.from_tensors(
            ({"tokens": tokens, "start": ~start}, targets, np.ones_like(weights))
        )
        history = model.fit(batches.concatenate(continuation), verbose=0).history
        outcomes.append([history["loss"][0], *model.get_weights()])
    for outcome in outcomes[1:]:
        for value, expected in zip(outcome, outcomes[0], strict=True):
            np.testing.assert_array_equal(value, expected)


def check_a_row_continues_after_padding(rng, model, parameters):
    """The carried state is the one after the last real token, not the one after the padding."""
    lengths = [6, 2, 0, 4]
    tokens, targets = rng.integers(SIZE, size=(2, 2, BATCH, TIME))
    weights = (np.arange(TIME) < np.array(lengths)[:, None]).astype(float)
    total = 0.0
    for row, length in enumerate(lengths):
        text = np.concatenate([tokens[0, row, :length], tokens[1, row]])[None]
        follows = np.concatenate([targets[0, row, :length], targets[1, row]])[None]
        loss, _, _ = reference.loss_and_gradients(parameters, text, follows)
        total += loss * text.size
    model.compile()
    start = np.array([[True] * BATCH, [False] * BATCH])
    data = ({"tokens": tokens, "start": start}, targets, np.stack([weights, np.ones_like(weights)]))
    result = model.evaluate(tf.data.Dataset.from_tensor_slices(data), verbose=0, return_dict=True)
    assert result["loss"] == pytest.approx(total / (sum(lengths) + BATCH * TIME), rel=1e-12)
