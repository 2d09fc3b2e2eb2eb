"""Scores, probabilities of the next token and beams: against NumPy and against enumeration."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.letters import (
    FEW_LETTERS,
    PROMPTS,
    VOCABULARY,
    check_a_beam_of_full_width_is_an_exhaustive_search,
    check_scores_are_those_of_the_reference,
    make_letters_model,
    random_text,
    reference_log_probabilities,
    reference_score,
)

import tfcharlm
from tfcharlm.generation import scorer, scores
from tfcharlm.text import Vocabulary


def test_scores_are_those_of_the_reference(rng, model, signatures):
    check_scores_are_those_of_the_reference(rng, model, signatures["score"])


def compiled_functions(function):
    """The functions that XLA compiles in the graph of a `tf.function`."""
    library = function.get_concrete_function().graph.as_graph_def().library.function
    return [f.signature.name for f in library if f.attr["_XlaMustCompile"].b]


def test_scores_of_whole_sequences_are_those_of_the_reference(rng, monkeypatch):
    """The way of large vocabularies, with more than one sequence in a text."""
    monkeypatch.setattr(scorer, "LARGEST_VOCABULARY_OF_LOOP", 1)
    model = make_letters_model()
    assert not compiled_functions(model.text_graph().signatures["score"])
    check_scores_are_those_of_the_reference(rng, model, model.text_graph().score)


def test_the_loop_that_scores_is_compiled(model):
    """Operation by operation, one long text takes six times as long."""
    (name,) = compiled_functions(model.text_graph().signatures["score"])
    assert "_score_tile" in name


def test_a_long_text_is_scored_in_pieces_of_bounded_size(rng, model, monkeypatch):
    monkeypatch.setattr(scores, "TOKENS", 300)
    pieces, score_ids = [], model.text_graph().score_ids
    monkeypatch.setattr(
        model.text_graph(), "score_ids", lambda ids, *rest: pieces.append(tuple(ids.shape)) or score_ids(ids, *rest)
    )
    texts = [random_text(rng, length) for length in (1000, 10, 155)]
    results = model.score(texts)["log_probability"]
    # With the newline before them, 1,001 tokens in three rows, 100 at once.
    assert pieces == [(3, 100)] * 10 + [(3, 1)]
    np.testing.assert_allclose(results, [reference_score(model, text) for text in texts], rtol=1e-6)
    pieces.clear()
    np.testing.assert_allclose(model.score(texts[0])["log_probability"], results[0], rtol=1e-6)
    assert pieces == [(1, 300)] * 3 + [(1, 101)]


def test_many_short_texts_are_scored_sixty_four_at_a_time(rng, model, monkeypatch):
    rows, score_ids = [], model.text_graph().score_ids
    monkeypatch.setattr(
        model.text_graph(), "score_ids", lambda ids, *rest: rows.append(ids.shape[0]) or score_ids(ids, *rest)
    )
    texts = [random_text(rng, int(length)) for length in rng.integers(0, 40, 150)]
    expected = [reference_score(model, text) for text in texts]
    np.testing.assert_allclose(model.score(texts)["log_probability"], expected, rtol=1e-5, atol=1e-5)
    assert rows == [64, 64, 22]


def test_log_probabilities_of_tokens_are_those_of_the_reference_and_add_up_to_the_score(rng, model):
    """Texts shorter and longer than the blocks in which they are read, whose states are carried."""
    for text in ("", "a", *(random_text(rng, n) for n in (7, 511, 512, 1300))):
        found = model.token_log_probabilities(text)
        assert found.dtype == np.float64 and found.shape == (len(text),)
        np.testing.assert_allclose(found, reference_log_probabilities(model, text), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found.sum(), model.score(text)["log_probability"], rtol=1e-6)


def test_a_long_text_is_read_once_in_blocks(rng, model, monkeypatch):
    text, blocks, token_scores = random_text(rng, 500), [], model.text_graph().token_scores
    monkeypatch.setattr(scores, "SEQUENCE_BLOCK", 200)
    monkeypatch.setattr(
        model.text_graph(), "token_scores", lambda ids, *rest: blocks.append(ids.shape[1]) or token_scores(ids, *rest)
    )
    expected = reference_log_probabilities(model, text)
    np.testing.assert_allclose(model.token_log_probabilities(text), expected, rtol=1e-5, atol=1e-5)
    assert blocks == [200, 200, 101]


def test_the_probabilities_of_all_strings_add_up_to_one(few_letters):
    strings = ["".join(letters) for letters in itertools.product(FEW_LETTERS.tokens, repeat=4)]
    np.testing.assert_allclose(np.exp(few_letters.score(strings)["log_probability"]).sum(), 1, atol=1e-5)
    total = np.exp(few_letters.text_graph().score(tf.constant(strings))["log_probability"].numpy()).sum()
    np.testing.assert_allclose(total, 1, atol=1e-5)


def test_what_comes_next_is_what_a_longer_text_costs(model):
    for prompt in PROMPTS:
        probabilities = model.next_token_probabilities(prompt)
        assert list(probabilities.values()) == sorted(probabilities.values(), reverse=True)
        longer = model.score([prompt + token for token in probabilities])["log_probability"]
        expected = np.exp(longer - model.score(prompt)["log_probability"])
        np.testing.assert_allclose(list(probabilities.values()), expected, rtol=1e-4)


@pytest.mark.parametrize("level", ["byte", "word"])
def test_bytes_and_words_are_scored_by_character(level):
    text = "to bé, or not\n"
    keras.utils.set_random_seed(4)
    model = tfcharlm.CharLM(Vocabulary.from_text(text, level), [tfcharlm.RNNCell(3)])
    result, signature = model.score(text), model.text_graph().score(tf.constant([text]))
    assert result["tokens"] == len(model.vocabulary.encode(text))
    np.testing.assert_allclose(result["bits_per_character"], -result["log_probability"] / np.log(2) / len(text))
    np.testing.assert_allclose(signature["bits_per_character"][0], result["bits_per_character"], rtol=1e-6)
    tokens = model.token_log_probabilities(text)
    assert len(tokens) == result["tokens"]
    np.testing.assert_allclose(tokens.sum(), result["log_probability"], rtol=1e-6)


def test_without_a_newline_the_first_token_is_given():
    keras.utils.set_random_seed(4)
    model = tfcharlm.CharLM(Vocabulary("ab"), [tfcharlm.RNNCell(3)])
    strings = ["a" + "".join(rest) for rest in itertools.product("ab", repeat=3)]
    scores, signature = model.score(strings), model.text_graph().score(tf.constant(strings))
    np.testing.assert_allclose(np.exp(scores["log_probability"]).sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(signature["log_probability"], scores["log_probability"], rtol=1e-5)
    assert set(scores["tokens"]) == set(signature["tokens"].numpy()) == {3}
    assert model.text_graph().score(tf.constant(["", "a"]))["tokens"].numpy().tolist() == [0, 0]
    tokens = model.token_log_probabilities(strings[5])
    np.testing.assert_allclose(tokens.sum(), scores["log_probability"][5], rtol=1e-5)
    assert [len(model.token_log_probabilities(text)) for text in (strings[5], "a", "")] == [3, 0, 0]


@pytest.mark.parametrize("prompt", ["", "ab", "b\n"])
def test_a_beam_of_full_width_is_an_exhaustive_search(few_letters, prompt):
    check_a_beam_of_full_width_is_an_exhaustive_search(few_letters, prompt)


def test_a_beam_of_one_is_greedy(model):
    ((text, score),) = model.beam_search("ab", max_length=30, beams=1)
    assert text == model.generate("ab", max_length=30, temperature=0.0)
    expected = model.score(text)["log_probability"] - model.score("ab")["log_probability"]
    np.testing.assert_allclose(score, expected, atol=1e-4)
    (alone,) = model.beam_search("ab", max_length=0)
    assert alone == ("ab", 0.0)


def test_beams_and_scores_name_what_is_wrong(model):
    with pytest.raises(ValueError, match="beams must be a whole number from 1 to 1048576"):
        model.beam_search("ab", beams=0)
    with pytest.raises(ValueError, match=r"character 'x' .*position 1"):
        model.score(["a", "ax"])
    with pytest.raises(ValueError, match=r"prompt: character 'x'"):
        model.next_token_probabilities("x")
    with pytest.raises(ValueError, match=r"character 'x' .*position 1"):
        model.token_log_probabilities("ax")


@pytest.mark.slow
def test_a_large_vocabulary_leaves_fewer_rows():
    """What is held at once is bounded, whatever the vocabulary."""
    words = Vocabulary.from_text(" ".join(f"w{i}" for i in range(40_000)) + "\n", "word")
    model = tfcharlm.CharLM(words, [tfcharlm.RNNCell(2)], embedding_dim=2)
    texts = tf.constant([b","] * 500)
    with pytest.raises(tf.errors.InvalidArgumentError, match="texts must be at most 418 per call; received"):
        model.text_graph().score(texts)
    with pytest.raises(tf.errors.InvalidArgumentError, match="tokens must be at most 418 per call"):
        model.text_graph().step(tf.zeros((1, 420), tf.int32), *model.initial_state(1))
    text = " w7" * 900 + "\n"
    np.testing.assert_allclose(
        model.text_graph().score(tf.constant([text]))["log_probability"][0], model.score(text)["log_probability"],
        rtol=1e-5)  # fmt: skip


def test_a_cell_may_learn_its_first_state():
    """The states before a text are read when it is, not when the graph was made."""

    class Cell(keras.layers.SimpleRNNCell):
        def build(self, shape):
            super().build(shape)
            self.first = self.add_weight(shape=(1, self.units), name="first")

        def get_initial_state(self, batch_size=None):
            return [tf.repeat(tf.convert_to_tensor(self.first), 1 if batch_size is None else batch_size, axis=0)]

    model = tfcharlm.CharLM(VOCABULARY, [Cell(3)])
    for value in (0.0, 5.0):
        model.recurrent[0].cell.first.assign(tf.fill((1, 3), value))
        expected = model.score("a")["log_probability"]
        np.testing.assert_allclose(np.log(model.next_token_probabilities("")["a"]), expected, rtol=1e-5)
