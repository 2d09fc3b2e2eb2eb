"""A model of nine letters that generates text: beside the reference, and what it must give whatever comes in."""

import itertools

import keras
import numpy as np
import tensorflow as tf

import tfcharlm
from tfcharlm import reference
from tfcharlm.generation.noise import uniform
from tfcharlm.text import Vocabulary

VOCABULARY = Vocabulary("\n abcdefghé")
PROMPTS = ["ab", "", "h", "a bad cabé", "\nfad"]
SAMPLING = [
    {"temperature": 1.0},
    {"temperature": 0.7, "top_k": 4},
    {"temperature": 1.3, "top_p": 0.6},
    {"temperature": 0.9, "top_k": 6, "top_p": 0.8},
    {"temperature": 0.0},
]
# Every string of these three letters can be tried.
FEW_LETTERS = Vocabulary("ab\n")


def make_letters_model():
    """An LSTM over an RNN, with weights under which the text depends on its past (and a test that it does)."""
    keras.utils.set_random_seed(11)
    rng = np.random.default_rng(11)
    model = tfcharlm.CharLM(VOCABULARY, [tfcharlm.LSTMCell(6), tfcharlm.RNNCell(5)], embedding_dim=3)
    scales = {"embeddings": 3.0, "kernel": 1.5, "recurrent_kernel": 0.5, "bias": 0.5}
    model.set_weights([rng.normal(scale=scales[w.name], size=w.shape) for w in model.weights])
    return model


def make_few_letters_model():
    keras.utils.set_random_seed(5)
    model = tfcharlm.CharLM(FEW_LETTERS, [tfcharlm.LSTMCell(4)], embedding_dim=2)
    rng = np.random.default_rng(5)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


def parameters_of(model):
    arrays = [w.astype(np.float64) for w in model.get_weights()]
    return reference.Parameters(
        arrays[0], (reference.LSTMWeights(*arrays[1:4]), reference.RNNWeights(*arrays[4:7])), *arrays[7:]
    )


def random_text(rng, length):
    return VOCABULARY.decode(rng.integers(0, len(VOCABULARY), length))


def arguments_of_generate(prompts, length, seeds, temperature=1.0, top_k=0, top_p=1.0):
    """The arguments of the signature `generate`."""
    return {
        "prompts": tf.constant(prompts, tf.string),
        "max_length": tf.constant(length),
        "temperature": tf.constant(temperature),
        "top_k": tf.constant(top_k),
        "top_p": tf.constant(top_p),
        "seed": tf.constant(seeds, tf.int64),
    }


def generate_in_graph(model, prompts, length, seeds, **sampling):
    """The texts of the graph that an export holds, as Python strings."""
    arguments = arguments_of_generate(prompts, length, seeds, **sampling)
    ordered = [arguments.pop(name) for name in ("prompts", "max_length", "seed")]
    return [text.decode() for text in model.text_graph().generate(*ordered, *arguments.values())["text"].numpy()]


def reference_log_probabilities(model, text):
    """The log-probability of every character of a text that begins a line, in NumPy."""
    ids = VOCABULARY.encode("\n" + text)[None]
    logits, _, _ = reference.step(parameters_of(model), ids, reference.initial_state(parameters_of(model), 1))
    return np.log(reference.softmax(logits[0, :-1]))[np.arange(len(text)), ids[0, 1:]]


def reference_score(model, text):
    """Their sum."""
    return reference_log_probabilities(model, text).sum()


def check_generate_is_the_sampling_of_the_reference(model, prompt, temperature, length=60):
    """Same weights, same noise, in NumPy: the state must advance with every character, prompt and own."""
    parameters = parameters_of(model)
    noise = uniform(tf.constant([9], tf.int64), tf.range(length)).numpy()[0].astype(np.float64)
    ids = reference.sample(parameters, VOCABULARY.encode("\n" + prompt), noise, temperature=temperature)
    assert model.generate(prompt, max_length=length, temperature=temperature, seed=9) == prompt + VOCABULARY.decode(ids)


def check_a_row_depends_neither_on_its_batch_nor_on_the_length(model, **sampling):
    texts = model.generate(PROMPTS, max_length=50, seed=5, **sampling)
    for row, (prompt, text) in enumerate(zip(PROMPTS, texts, strict=True)):
        assert text.startswith(prompt)
        assert len(text) == len(prompt) + 50
        assert model.generate(prompt, max_length=50, seed=5 + row, **sampling) == text
        assert model.generate([prompt], max_length=20, seed=[5 + row], **sampling) == [text[: len(prompt) + 20]]
        assert "".join(model.stream(prompt, max_length=50, seed=5 + row, **sampling)) == text[len(prompt) :]


def check_scores_are_those_of_the_reference(rng, model, score_in_graph):
    """Texts longer and shorter than the pieces in which they are read, and of unequal length in one batch."""
    texts = ["", "a", *(random_text(rng, n) for n in (2, 7, 511, 512, 513, 1300))]
    expected = [reference_score(model, text) for text in texts]
    scores = model.score(texts)
    from_graph = {name: value.numpy() for name, value in score_in_graph(texts=tf.constant(texts)).items()}
    for result in (scores, from_graph):
        np.testing.assert_allclose(result["log_probability"], expected, atol=1e-4, rtol=1e-6)
        np.testing.assert_array_equal(result["tokens"], [len(text) for text in texts])
        bits = [-e / np.log(2) / max(len(t), 1) for e, t in zip(expected, texts, strict=True)]
        np.testing.assert_allclose(result["bits_per_character"], bits, rtol=1e-5)
    perplexities = np.exp([-e / max(len(t), 1) for e, t in zip(expected, texts, strict=True)])
    np.testing.assert_allclose(scores["perplexity"], perplexities, rtol=1e-5)
    alone = model.score(texts[3])
    assert alone["tokens"] == 7
    np.testing.assert_allclose(alone["log_probability"], expected[3], rtol=1e-5)


def check_a_stop_string_is_found_across_pieces(model):
    """Pieces have 16 tokens: these stop strings begin in one and end in the next."""
    for prompt in PROMPTS:
        rest = model.generate(prompt, max_length=60, seed=5)[len(prompt) :]
        for begin in (12, 15, 30):
            stop = rest[begin : begin + 6]
            assert "".join(model.stream(prompt, max_length=60, seed=5, stop=stop)) == rest[: rest.find(stop)]


def check_a_beam_of_full_width_is_an_exhaustive_search(model, prompt, length=4):
    strings = [prompt + "".join(letters) for letters in itertools.product(FEW_LETTERS.tokens, repeat=length)]
    scores = model.score(strings)["log_probability"] - model.score(prompt)["log_probability"]
    found = model.beam_search(prompt, max_length=length, beams=len(FEW_LETTERS) ** length)
    assert [text for text, _ in found] == [strings[i] for i in np.argsort(-scores)]
    np.testing.assert_allclose([score for _, score in found], np.sort(scores)[::-1], atol=1e-5)
