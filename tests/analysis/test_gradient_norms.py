"""Norms of the gradients with respect to earlier states, against finite differences in NumPy."""

import keras
import numpy as np
import pytest
from helpers.analyzed_models import LAYERS, TEXT, VOCABULARY, make_pair

import tfcharlm
from tfcharlm import reference
from tfcharlm.analysis import state_gradient_norms


def loss_with_nudge(parameters, tokens, place, nudge):
    """-log p(last token), with a nudge added to the state at `place` = (layer, kind, t) when it has been computed."""
    states = [(np.zeros(len(w.recurrent_kernel)),) * 2 for w in parameters.recurrent]
    for t, token in enumerate(tokens[:-1]):
        y = parameters.embedding[token]
        for layer, weights in enumerate(parameters.recurrent):
            h, c = states[layer]
            z = y @ weights.kernel + h @ weights.recurrent_kernel + weights.bias
            if isinstance(weights, reference.LSTMWeights):
                i, f, g, o = np.split(z, 4)
                c = reference.sigmoid(f) * c + reference.sigmoid(i) * np.tanh(g)
                c = c + nudge if place == (layer, "c", t) else c
                y = reference.sigmoid(o) * np.tanh(c)
            else:
                y = np.tanh(z)
            y = y + (nudge if place == (layer, "h", t) else 0.0)
            states[layer] = (y, c)
    logits = y @ parameters.head_kernel + parameters.head_bias
    return -reference.log_softmax(logits[None])[0, tokens[-1]]


def test_gradient_norms_are_those_of_finite_differences(rng):
    model, parameters = make_pair(rng)
    text = "a bad\nbed"
    tokens = VOCABULARY.encode("\n" + text)
    norms = state_gradient_norms(model, text)
    assert [set(layer) for layer in norms] == [{"h", "c"}, {"h"}, {"h", "c"}]
    for layer, (_, units) in enumerate(LAYERS):
        for kind, values in norms[layer].items():
            expected = []
            for t in range(1, len(text)):

                def loss(nudge, place=(layer, kind, t)):
                    return loss_with_nudge(parameters, tokens, place, nudge)

                expected.append(np.linalg.norm(reference.numerical_gradient(loss, np.zeros(units))))
            np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-9, err_msg=f"{layer} {kind}")


def test_gradient_norms_of_windows_are_means(rng):
    model, _ = make_pair(rng)
    windows = [TEXT[:7], TEXT[7:14], TEXT[14:21]]
    whole = state_gradient_norms(model, TEXT, window=7)
    apart = [state_gradient_norms(model, window) for window in windows]
    for layer, states in enumerate(whole):
        for kind, values in states.items():
            mean = np.mean([norms[layer][kind] for norms in apart], axis=0)
            np.testing.assert_allclose(values, mean, rtol=1e-10)


@pytest.mark.parametrize("window", [1, 0, 30, True, 2.5])
def test_windows_that_a_text_does_not_have(rng, window):
    model, _ = make_pair(rng)
    with pytest.raises(ValueError, match=rf"from 2 to 23 \(the tokens of the text\).*; received {window}\."):
        state_gradient_norms(model, TEXT, window=window)
    with pytest.raises(ValueError, match="at least two tokens, the last of which is predicted; received 1"):
        state_gradient_norms(model, "a")


def test_gradient_norms_of_a_cell_of_keras(rng):
    model = tfcharlm.CharLM(VOCABULARY, [keras.layers.GRUCell(3)], embedding_dim=2)
    (norms,) = state_gradient_norms(model, TEXT)
    assert norms["state_0"].shape == (len(TEXT) - 1,)
    assert np.all(norms["state_0"] > 0)
