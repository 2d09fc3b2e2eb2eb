"""The whole model of the reference against finite differences and token by token; softmax and cross-entropy."""

import itertools

import keras
import numpy as np
import pytest
from helpers.reference_layers import RAGGED, B, D, H, T, V, agree, check_gradient, flat, inner, nearest_bend

from tfcharlm import reference as ref

each_mask = pytest.mark.parametrize("mask", [None, RAGGED], ids=["full", "ragged"])


@each_mask
@pytest.mark.parametrize(
    ("layers", "skips", "cap"),
    [
        ([("rnn", 7)], False, False),
        ([("lstm", 7), ("rnn", 2)], False, False),
        ([("lstm", 2)] * 2, False, True),
        ([("rnn", 7), ("lstm", 2)], True, False),
        ([("lstm", 6), ("rnn", 7), ("lstm", 2)], True, True),
    ],
)
def test_model_gradients_against_finite_differences(layers, skips, cap, mask, rng):
    parameters = ref.random_parameters(rng, V, D, layers, skip_connections=skips)
    tokens, targets = rng.integers(V, size=(2, B, T))
    weights = rng.uniform(size=(B, T)) * (rng.uniform(size=(B, T)) < 0.8)
    states = [tuple(rng.normal(size=np.shape(s))) for s in ref.initial_state(parameters, B)]
    while nearest_bend(ref.step(parameters, tokens, states, mask, cap)[-1].layers) < 1e-4:
        parameters = ref.random_parameters(rng, V, D, layers, skip_connections=skips)
    d_final = [tuple(rng.normal(size=np.shape(state))) for state in states]

    def loss():
        logits, final, _ = ref.step(parameters, tokens, states, mask, cap)
        cross_entropy, _ = ref.cross_entropy(logits, targets, weights)
        return cross_entropy + sum(map(inner, final, d_final))

    # One gradient comes through the logits, one through the final states; their sum is checked.
    arguments = tokens, targets, weights, states, mask, cap
    _, by_logits, _ = ref.loss_and_gradients(parameters, *arguments)
    logits, _, cache = ref.step(parameters, tokens, states, mask, cap)
    by_final, _ = ref.step_backward(parameters, cache, np.zeros_like(logits), d_final)
    arrays = map(flat, (parameters, by_logits, by_final))
    for array, *gradients in zip(*arrays, strict=True):
        check_gradient(loss, array, sum(gradients))

    _, d_logits = ref.cross_entropy(logits, targets, weights)
    _, d_states = ref.step_backward(parameters, cache, d_logits, d_final)
    for array, gradient in zip(itertools.chain(*states), itertools.chain(*d_states), strict=True):
        check_gradient(loss, array, gradient)


def test_skip_connections_token_by_token(rng):
    kinds, units = ("lstm", "rnn", "lstm"), (6, 7, 2)
    parameters = ref.random_parameters(rng, V, D, list(zip(kinds, units, strict=True)), skip_connections=True)
    tokens, states = rng.integers(V, size=(B, T)), ref.initial_state(parameters, B)
    logits, final, _ = ref.step(parameters, tokens, states, cap_input_gate=True)
    of_layers = np.split(parameters.head_kernel, np.cumsum(units)[:-1])
    states = list(states)
    for t in range(T):
        x = e = parameters.embedding[tokens[:, t]]
        expected = parameters.head_bias
        for n, weights in enumerate(parameters.recurrent):
            if n == 1:
                states[n] = (ref.rnn_step(weights, x, *states[n]),)
            else:
                states[n] = ref.lstm_step(weights, x, *states[n], cap_input_gate=True)
            x = np.hstack([states[n][0], e])
            expected = expected + states[n][0] @ of_layers[n]
        agree([logits[:, t]], [expected])
    agree(itertools.chain(*states), itertools.chain(*final))


def test_padding_reaches_nothing_in_the_model(rng):
    parameters = ref.random_parameters(rng, V, D, [("lstm", H), ("rnn", 2)])
    tokens, targets = np.where(RAGGED, rng.integers(V, size=(2, B, T)), 0)
    clean = ref.loss_and_gradients(parameters, tokens, targets, mask=RAGGED)
    tokens, targets = (np.where(RAGGED, ids, -(10**6)) for ids in (tokens, targets))
    np.testing.assert_equal(ref.loss_and_gradients(parameters, tokens, targets, mask=RAGGED), clean)
    with pytest.raises(ValueError, match=f"tokens has ids .* expected 0 to {V - 1}"):
        ref.loss_and_gradients(parameters, tokens, targets)


def test_softmax_and_cross_entropy_of_large_logits():
    logits = np.array([[1e4, 0.0, -1e4], [-1e4, -1e4, -1e4]])
    np.testing.assert_allclose(ref.softmax(logits), [[1, 0, 0], [1 / 3] * 3])
    loss, d_logits = ref.cross_entropy(logits, [2, 0])
    assert loss == pytest.approx((2e4 + np.log(3)) / 2, rel=1e-15)
    np.testing.assert_allclose(d_logits, [[0.5, 0, -0.5], [-1 / 3, 1 / 6, 1 / 6]], atol=1e-15)
    np.testing.assert_allclose(ref.sigmoid(np.array([-800.0, -50.0])), np.exp([-800.0, -50.0]))


def test_cross_entropy_weights(rng):
    logits, targets = rng.normal(size=(2, T, V)), rng.integers(V, size=(2, T))
    weights = rng.uniform(size=(2, T)) * [[1], [0]]
    loss, d_logits = ref.cross_entropy(logits, targets, weights)
    check_gradient(lambda: ref.cross_entropy(logits, targets, weights)[0], logits, d_logits)
    each = keras.losses.sparse_categorical_crossentropy(targets[0], logits[0], from_logits=True)
    agree([loss], [np.average(each, weights=weights[0])])

    logits[1], targets[1] = np.nan, 10**6
    np.testing.assert_equal(ref.cross_entropy(logits, targets, weights), (loss, d_logits))
    nothing = ref.cross_entropy(logits, targets, np.zeros((2, T)))
    np.testing.assert_equal(nothing, (0.0, np.zeros((2, T, V))))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda p, s: ref.step(p, [[0.5]], s), "tokens has dtype float64, expected integers"),
        (lambda p, s: ref.step(p, [[-1]], s), "tokens has ids from -1 to -1, expected 0 to 10"),
        (lambda p, s: ref.step(p, [0], s), r"tokens has shape \(1,\), expected \(B, T\)"),
        (lambda p, s: ref.step(p, [[0]], s[1:]), "received 1 states, expected 2"),
        (
            lambda p, s: ref.step(p._replace(head_kernel=np.zeros((9, V))), [[0]], s),
            r"^kernels have \[3, 7, 9\] rows, expected \[3, 7, 2\], or \[3, 10, 9\] with skip connections$",
        ),
        (lambda p, s: ref.sample(p, np.zeros(0, int), [0.5]), "prompt is empty"),
        (lambda p, s: ref.sample(p, [0], [1.0]), "uniforms between 0 and 1"),
        (lambda p, s: ref.lstm_forward(p.recurrent[0], np.zeros((B, T, 4))), r"\(B, T, 3\)"),
        (lambda p, s: ref.rnn_forward(ref.RNNWeights(*p.recurrent[0]), s[0][0]), r"\(D, 7\)"),
        (lambda p, s: ref.cross_entropy(np.zeros((2, V)), [0, 1], [1, -1]), "not negative"),
    ],
)
def test_errors_name_what_was_received_and_expected(call, message, rng):
    parameters = ref.random_parameters(rng, V, D, [("lstm", H), ("rnn", 2)])
    with pytest.raises(ValueError, match=message):
        call(parameters, ref.initial_state(parameters, 1))
