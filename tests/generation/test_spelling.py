"""Models that spell: what they write is text, and the probabilities of all texts add up to 1."""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcharlm
from tfcharlm.artefact import export_saved_model
from tfcharlm.text import Vocabulary

CHARACTERS = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
KNOWN = "ab\n\u00e9\u4eac"


@pytest.fixture(scope="module")
def model():
    """A model with weights so large that it would often write digits that make no character."""
    keras.utils.set_random_seed(3)
    model = tfcharlm.CharLM(Vocabulary.from_text(KNOWN), [tfcharlm.LSTMCell(7), tfcharlm.RNNCell(5)], 6)
    for variable in model.variables:
        variable.assign(tf.random.normal(variable.shape, stddev=0.7))
    return model


@pytest.fixture(scope="module")
def loaded(model, tmp_path_factory):
    return tf.saved_model.load(str(export_saved_model(model, tmp_path_factory.mktemp("spelling") / "1")))


@functools.cache
def spelled():
    """The hexadecimal digits of all characters that are spelled."""
    return sorted(character.encode().hex().upper() for character in CHARACTERS if character not in KNOWN)


def expected_log_probability(model, text):
    """From raw logits, and from a search of all of Unicode for what can follow."""
    tokens, names = [], model.vocabulary.tokens
    total = 0.0
    for character in text:
        parts = [character]
        if character not in KNOWN:
            first, *rest = character.encode().hex().upper()
            parts = [f"<0x{first}>", *(f"<{digit}>" for digit in rest)]
        for count, part in enumerate(parts):
            begun = "".join(part.strip("<>")[-1] for part in parts[:count])
            digits = {other[count] for other in spelled() if other.startswith(begun)}
            can_follow = {f"<{'' if count else '0x'}{digit}>" for digit in digits} | (set() if count else set(KNOWN))
            read = np.array([[names.index("\n"), *tokens]])
            logits = model.step(read, model.initial_state(1))[0][0, -1].numpy().astype(float)
            possible = np.array([name in can_follow for name in names])
            total += logits[names.index(part)] - np.log(np.exp(logits[possible]).sum())
            tokens.append(names.index(part))
    return total


@pytest.mark.parametrize("text", ["a", "\u017c", "b\u20aca", "\U0001f600\u00e8\u00e9", "\u4eab\x00\n"])
def test_scores_count_only_what_can_follow(model, loaded, text):
    expected = expected_log_probability(model, text)
    assert model.score(text)["log_probability"] == pytest.approx(expected, abs=1e-4)
    exported = loaded.signatures["score"](texts=tf.constant([text]))
    assert exported["log_probability"].numpy()[0] == pytest.approx(expected, abs=1e-4)
    bits = -expected / len(text) / np.log(2)
    assert model.score(text)["bits_per_character"] == pytest.approx(bits, abs=1e-4)
    assert exported["bits_per_character"].numpy()[0] == pytest.approx(bits, abs=1e-4)


@pytest.mark.slow
def test_long_texts_are_scored_alike_in_a_loop_and_in_sequences(model, rng):
    texts = ["".join(CHARACTERS[i] for i in rng.integers(len(CHARACTERS), size=n)) for n in (700, 1, 90)]
    in_loop = model.score(texts)["log_probability"]
    model.compiles_generation = False
    try:
        np.testing.assert_allclose(model.score(texts)["log_probability"], in_loop, rtol=1e-5)
    finally:
        model.compiles_generation = True


@pytest.mark.slow
def test_probabilities_of_all_characters_add_up_to_1(model):
    total = 0.0
    for begin in range(0, len(CHARACTERS), 1024):
        texts = tf.constant(CHARACTERS[begin : begin + 1024])
        total += np.exp(model.text_graph().score(texts)["log_probability"].numpy()).sum()
    assert total == pytest.approx(1, abs=1e-4)


def test_probabilities_of_all_texts_of_three_add_up_to_1(model):
    # Of the characters that are spelled, all but one have no probability: no other first digit is likely.
    likely = tfcharlm.CharLM(model.vocabulary, [tfcharlm.RNNCell(4)], 3)
    bias = np.full(len(model.vocabulary), -60.0)
    for token in [*KNOWN, "<0x6>", "<4>"]:
        bias[model.vocabulary.tokens.index(token)] = np.random.default_rng(len(token)).normal()
    likely.head.bias.assign(bias)
    texts = ["".join(letters) for letters in itertools.product(KNOWN + "d", repeat=3)]
    assert np.exp(likely.score(texts)["log_probability"]).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_what_is_written_is_text(model, loaded, temperature):
    prompts = ["", "a\u017c", "\U0001f600"]
    texts = model.generate(prompts, max_length=203, temperature=temperature, seed=5)
    for prompt, text in zip(prompts, texts, strict=True):
        assert text.startswith(prompt)
        assert "\ufffd" not in text
        assert len(set(text) - set(KNOWN)) > 10, "it spells"
        ids = model.vocabulary.encode(text)
        assert model.vocabulary.decode(ids) == text
    exported = loaded.signatures["generate"](
        prompts=tf.constant(prompts), max_length=tf.constant(203), seed=tf.constant([5, 6, 7], tf.int64),
        temperature=tf.constant(temperature), top_k=tf.constant(0), top_p=tf.constant(1.0),
    )  # fmt: skip
    assert [text.decode() for text in exported["text"].numpy()] == texts
    assert "a\u017c" + "".join(model.stream("a\u017c", 203, temperature, seed=6)) == texts[1]


def test_beams_are_texts(model):
    for text, log_probability in model.beam_search("a", max_length=9, beams=4):
        assert "\ufffd" not in text
        assert log_probability < 0


def test_the_exported_step_has_the_logits_of_the_model(model, loaded):
    tokens = tf.constant([[0, 9, 3]])
    states = model.initial_state(1)
    named = {f"state_{i}": state for i, state in enumerate(states)}
    exported = loaded.signatures["step"](tokens=tokens, **named)
    np.testing.assert_allclose(exported["logits"], model.step(tokens, states)[0], atol=1e-5)
    assert set(exported) == {"logits", *named}
