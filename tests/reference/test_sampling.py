"""Sampling of the reference against every string that it can write."""

import itertools

import numpy as np
import pytest
from helpers.reference_layers import D, H, V

from tfcharlm import reference as ref


def probability(parameters, prompt, text):
    """Of a text after a prompt, by the loss of the whole in one piece."""
    whole = np.array([[*prompt, *text]])
    weights = np.arange(1, whole.size)[None] >= len(prompt)
    loss, _, _ = ref.loss_and_gradients(parameters, whole[:, :-1], whole[:, 1:], weights)
    return np.exp(-loss * len(text))


def test_sample_frequencies_against_every_string(rng):
    parameters = ref.random_parameters(rng, 3, 2, [("rnn", 5)], scale=1.0)
    prompt, strings, samples = [1, 0], list(itertools.product(range(3), repeat=3)), 2000
    probabilities = np.array([probability(parameters, prompt, text) for text in strings])
    assert probabilities.sum() == pytest.approx(1, abs=1e-12)
    drawn = [ref.sample(parameters, prompt, u) @ [9, 3, 1] for u in rng.uniform(size=(samples, 3))]
    observed, expected = np.bincount(drawn, minlength=27), samples * probabilities
    # 26 degrees of freedom: mean 26, standard deviation 7.2.
    assert np.sum((observed - expected) ** 2 / expected) < 26 + 4 * 7.2


@pytest.mark.parametrize("temperature", [0, 1e-300, 0.5, 1, 2.5])
def test_sample_reads_all_that_it_wrote(temperature, rng):
    """The same text comes from a model that reads everything again before each letter."""
    for _ in range(5):
        parameters = ref.random_parameters(rng, V, D, [("lstm", H), ("rnn", 5)], scale=2.0)
        prompt, uniforms = rng.integers(V, size=2), rng.uniform(size=20)
        text = list(prompt)
        for u in uniforms:
            logits = ref.step(parameters, [text], ref.initial_state(parameters, 1))[0][0, -1]
            if temperature < 0.1:
                text.append(np.argmax(logits))
            else:
                p = np.exp(logits / temperature) / np.sum(np.exp(logits / temperature))
                text.append(next(k for k in range(V) if np.sum(p[: k + 1]) >= u))
        assert ref.sample(parameters, prompt, uniforms, temperature).tolist() == text[2:]
