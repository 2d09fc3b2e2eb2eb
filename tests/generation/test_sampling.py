"""Noise, truncation and sampling as functions of tensors: against known answers, definitions and frequencies."""

import numpy as np
import pytest
import tensorflow as tf
from helpers.letters import SAMPLING

from tfcharlm.generation.noise import threefry, uniform
from tfcharlm.generation.sampling import Sampling, sample, truncate_logits
from tfcharlm.reference import softmax

KNOWN_ANSWERS = [  # Random123, kat_vectors: threefry2x32, 20 rounds
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("key", "counter", "expected"), KNOWN_ANSWERS)
def test_threefry_gives_the_known_answers(key, counter, expected):
    words = [tuple(tf.constant(word, tf.uint32) for word in pair) for pair in (key, counter)]
    assert tuple(int(word) for word in threefry(*words)) == expected


def test_noise_is_uniform_and_a_function_of_seed_and_position():
    seeds = tf.constant([0, 1, -1, 2**40, -(2**63), 2**63 - 1, 5], tf.int64)
    noise = uniform(seeds, tf.range(4000)).numpy()
    assert noise.min() > 0 and noise.max() < 1
    counts = np.apply_along_axis(lambda row: np.histogram(row, 20, (0, 1))[0], 1, noise)
    chi_square = ((counts - 200) ** 2 / 200).sum(1)
    assert chi_square.max() < 45, "99.9th percentile of chi-square with 19 degrees of freedom is 43.8"
    assert np.abs(np.corrcoef(noise) - np.eye(len(seeds))).max() < 0.06
    np.testing.assert_array_equal(uniform(seeds[2:4], tf.range(7, 9)), noise[2:4, 7:9])


def test_truncation_keeps_what_the_definitions_say(rng):
    """Against a loop over the ids from the likeliest down."""
    for _ in range(60):
        logits = rng.normal(size=9).astype(np.float32) * 2
        k, p = int(rng.integers(0, 11)), float(rng.choice([1.0, rng.uniform(0.01, 0.99)]))
        order = np.argsort(-logits)[: k or None]
        probabilities, kept, total = softmax(logits[order].astype(np.float64)), [], 0.0
        for token, probability in zip(order, probabilities, strict=True):
            kept.append(token)
            total += probability
            if p < 1 and total >= p:
                break
        truncated = truncate_logits(tf.constant(logits[None]), tf.constant(k), tf.constant(p, tf.float32))[0].numpy()
        assert set(np.flatnonzero(np.isfinite(truncated))) == set(kept)
        np.testing.assert_array_equal(truncated[kept], logits[kept])


@pytest.mark.parametrize("arguments", SAMPLING, ids=str)
def test_frequencies_follow_the_distribution(rng, arguments):
    logits = rng.normal(size=7).astype(np.float32) * 1.5
    draws = 100_000
    temperature, top_k, top_p = arguments["temperature"], arguments.get("top_k", 0), arguments.get("top_p", 1.0)
    uniforms = tf.reshape(uniform(tf.constant([3], tf.int64), tf.range(draws)), (-1,))
    ids = sample(tf.tile(logits[None], (draws, 1)), uniforms, Sampling(**arguments).tensors()).numpy()
    if temperature == 0:
        assert set(ids) == {logits.argmax()}
        return
    expected = softmax(logits.astype(np.float64) / temperature)
    order = np.argsort(-expected)
    expected[order[top_k or 7 :]] = 0
    expected /= expected.sum()
    needed = np.searchsorted(np.cumsum(expected[order]), top_p) + 1 if top_p < 1 else 7
    expected[order[needed:]] = 0
    expected *= draws / expected.sum()
    counts = np.bincount(ids, minlength=7)
    assert (counts[expected == 0] == 0).all()
    possible = expected > 0
    assert ((counts - expected)[possible] ** 2 / expected[possible]).sum() < 27, "six degrees of freedom: p < 1e-4"


@pytest.mark.parametrize("temperature", [1e-30, 1e-45, 1e30])
def test_extreme_temperatures_give_the_limit(temperature):
    logits = tf.constant([[3.0, 3.5, -80.0]])
    ids = [int(sample(logits, tf.constant([u]), Sampling(temperature))[0]) for u in (0.01, 0.5, 0.99)]
    assert ids == ([0, 1, 2] if temperature > 1 else [1, 1, 1])
