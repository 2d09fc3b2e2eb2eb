"""Dynamic evaluation: against NumPy, and what it promises of its predictions, its model and its state."""

import itertools
import re

import keras
import numpy as np
import pytest
from helpers.example_cells import make_cell
from helpers.letters import VOCABULARY, parameters_of, random_text
from helpers.reference_layers import flat

import tfcharlm
from tfcharlm import DynamicEvaluation, reference
from tfcharlm.generation.gradient_scale import gradient_scale, own_texts, pieces
from tfcharlm.text import Vocabulary


def reader_of(model, segment_length=7, **arguments):
    """A reader that learns fast, on statistics that cost no compilation."""
    text = random_text(np.random.default_rng(1), 120)
    options = {"learning_rate": 0.02, "decay": 0.1, "statistics_text": text, **arguments}
    return DynamicEvaluation(model, segment_length=segment_length, **options)


@pytest.fixture(scope="module")
def reader(letters_model):
    return reader_of(letters_model)


@pytest.fixture(autouse=True)
def forget(request):
    if "reader" in request.fixturenames:
        request.getfixturevalue("reader").reset()


def segments(parameters, ids, size):
    """(gradients of the sum of the losses, log-probabilities, set the parameters) of one segment after another."""
    states = reference.initial_state(parameters, 1)
    for begin in range(0, len(ids) - 1, size):
        x, y = ids[None, begin : begin + size][:, : len(ids) - 1 - begin], ids[None, begin + 1 : begin + size + 1]
        logits, after, _ = reference.step(parameters, x, states)
        nats = np.log(reference.softmax(logits[0]))[np.arange(y.size), y[0]]
        _, gradients, _ = reference.loss_and_gradients(parameters, x, y, states=states)
        states = after
        new = yield [gradient * y.size for gradient in flat(gradients)], nats
        parameters = parameters if new is None else keras.tree.pack_sequence_as(parameters, new)


def test_losses_and_weights_are_those_of_numpy(rng, model):
    size, rate, decay = 7, 0.02, 0.1
    statistics, text = random_text(rng, 100), random_text(rng, 200)
    reader = DynamicEvaluation(model, rate, decay, size, statistics)
    parameters = parameters_of(model)

    squares, count = [0.0] * len(flat(parameters)), 0
    for number, (gradients, _) in enumerate(segments(parameters, VOCABULARY.encode(statistics), size)):
        if 0 < number < 99 // size:
            squares = [total + gradient**2 for total, gradient in zip(squares, gradients, strict=True)]
            count += 1
    scales = gradient_scale([total / count for total in squares])
    mean = np.mean(np.concatenate([scale.ravel() for scale in scales]))
    assert count == 13

    begin = weights = flat(parameters)
    steps = segments(parameters, VOCABULARY.encode("\n" + text), size)
    gradients, found = next(steps)
    expected = [found]
    while True:
        weights = [
            w + np.minimum(decay * v / mean, 1) * (w0 - w) - rate * g / (v + 0.3 * mean)
            for w, w0, v, g in zip(weights, begin, scales, gradients, strict=True)
        ]
        if len(expected) * size >= len(text) // size * size:
            break
        gradients, found = steps.send(weights)
        expected.append(found)
    expected.append(steps.send(weights)[1])
    np.testing.assert_allclose(reader.read(text), np.concatenate(expected), atol=2e-4)
    # The rest of a segment is predicted, and not yet learned from.
    for learned, array in zip(reader.model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(learned, array, atol=2e-4)


def test_a_prediction_does_not_depend_on_what_follows(rng, reader):
    """Bit for bit: otherwise a character could tell the model about itself."""
    text = random_text(rng, 60)
    whole = reader.read(text)
    for end in (1, 6, 7, 8, 27, 59):
        reader.reset()
        other = reader.read(text[:end] + random_text(rng, 60 - end))
        np.testing.assert_array_equal(other[:end], whole[:end])


@pytest.mark.parametrize("count", [0, 3, 23])
def test_probabilities_of_what_comes_next_add_up_to_one(rng, reader, count):
    text, total = random_text(rng, count), 0.0
    for token in VOCABULARY.tokens:
        reader.reset()
        total += np.exp(reader.read(text + token)[-1])
    assert total == pytest.approx(1, abs=1e-5)


def test_digits_that_cannot_follow_have_no_probability(rng):
    """As for the model itself, whose probabilities of all texts add up to 1."""
    keras.utils.set_random_seed(3)
    model = tfcharlm.CharLM(Vocabulary.from_text("ab\n", min_count=1), [tfcharlm.LSTMCell(5)], embedding_dim=3)
    text = "".join(rng.choice(list("ab\né猫🎉"), 60))
    found = DynamicEvaluation(model, 0, 0, 9, "abé\n" * 20).read(text)
    np.testing.assert_allclose(found, model.token_log_probabilities(text), atol=1e-5)
    learned = DynamicEvaluation(model, 0.01, 0, 9, "abé\n" * 20).read(text * 20)
    assert learned[-len(found) :].mean() > found.mean() + 0.1


def test_the_model_stays_as_it_is_and_reset_forgets(rng, model, reader):
    text, before = random_text(rng, 100), model.get_weights()
    first, again = reader.read(text), reader.read(text)
    assert again.sum() > first.sum() + 1
    for array, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, other)
    assert any((array != other).any() for array, other in zip(reader.model.get_weights(), before, strict=True))
    reader.reset()
    np.testing.assert_array_equal(reader.read(text), first)


def test_without_learning_it_is_the_log_probability_of_the_model(rng, model):
    text = random_text(rng, 150)
    found = reader_of(model, learning_rate=0, decay=0).read(text)
    np.testing.assert_allclose(found, model.token_log_probabilities(text), atol=1e-5)


@pytest.mark.parametrize("cuts", [[0, 1, 1, 6, 30, 31, 80], [7, 14, 28], [200, 200], [199]])
def test_pieces_of_a_text_give_what_the_text_gives(rng, reader, cuts):
    text = random_text(rng, 200)
    whole = reader.read(text)
    reader.reset()
    bounds = [0, *cuts, len(text)]
    found = [reader.read(text[a:b], continued=i > 0) for i, (a, b) in enumerate(itertools.pairwise(bounds))]
    assert [len(part) for part in found] == np.diff(bounds).tolist()
    np.testing.assert_allclose(np.concatenate(found), whole, atol=1e-5)


def test_a_text_of_many_calls_is_read_like_one_of_one_call(rng, model, monkeypatch):
    text = random_text(rng, 300)
    whole = reader_of(model).read(text)
    monkeypatch.setattr("tfcharlm.generation.dynamic_evaluation.SEGMENTS_AT_ONCE", 3)
    np.testing.assert_array_equal(reader_of(model).read(text), whole)


def test_a_state_that_was_stored_continues_bit_for_bit(rng, model, reader):
    text = random_text(rng, 200)
    reader.read(text[:90])
    state = reader.get_state()
    expected = reader.read(text[90:], continued=True)
    # Other statistics, which the state replaces.
    other = reader_of(model, statistics_text="abc" * 30)
    other.read("cab" * 30)
    other.set_state(state)
    np.testing.assert_array_equal(other.read(text[90:], continued=True), expected)
    with pytest.raises(ValueError, match="must have weights of the shapes"):
        other.set_state(state | {"weights": state["weights"][1:]})


def test_scores_of_a_model_that_adapts(rng, model, reader):
    texts = [random_text(rng, count) for count in (150, 0, 20)]
    carried = model.score(texts, adapt=reader)
    reader.reset()
    nats = [reader.read(text).sum() for text in texts]
    np.testing.assert_array_equal(carried["log_probability"], nats)
    assert carried["tokens"].tolist() == [150, 0, 20]
    np.testing.assert_allclose(
        carried["bits_per_character"], [-nats[0] / 150 / np.log(2), 0, -nats[2] / 20 / np.log(2)]
    )
    fresh = model.score(texts, adapt=True)
    reader.reset()
    single = model.score(texts[2], adapt=reader)
    assert isinstance(single["log_probability"], float) and single["tokens"] == 20
    reader.reset()
    assert single["log_probability"] == reader.read(texts[2]).sum() != carried["log_probability"][2]
    # Less than a segment: there is nothing to learn from yet.
    assert fresh["log_probability"][2] == pytest.approx(model.score(texts[2])["log_probability"], rel=1e-5)
    found = model.token_log_probabilities(texts[0], adapt=True)
    assert found.shape == (150,) and found.sum() == pytest.approx(fresh["log_probability"][0])


def test_generate_continues_a_prompt_with_what_was_learned_from_it(model, reader):
    prompts, seen = ["abc" * 40, "hé", "fad " * 9], []
    texts = model.generate(
        prompts, max_length=20, seed=4, samples=2, adapt=reader, callback=lambda row, piece: seen.append((row, piece))
    )
    reader.reset()
    for number, (prompt, rows) in enumerate(zip(prompts, texts, strict=True)):
        reader.read(prompt)
        assert rows == reader.model.generate(prompt, max_length=20, seed=4 + 2 * number, samples=2)
        for sample in range(2):
            pieces = [piece for row, piece in seen if row == 2 * number + sample]
            assert prompt + "".join(pieces) == rows[sample]
    reader.reset()
    alone = model.generate(prompts[0], max_length=20, seed=[4], adapt=reader)
    assert alone == texts[0][0]


def test_own_texts_are_what_the_model_writes(model):
    texts = own_texts(model.text_graph())
    assert texts.shape == (16, 512) and (texts[:, 0] == VOCABULARY.encode("\n")[0]).all()
    nats = [model.score(VOCABULARY.decode(row[1:]))["log_probability"] for row in texts]
    random = [model.score(random_text(np.random.default_rng(i), 511))["log_probability"] for i in range(16)]
    assert np.mean(nats) > np.mean(random) + 100
    np.testing.assert_array_equal(texts, own_texts(model.text_graph()))


CELLS = {
    "lstm": lambda: tfcharlm.LSTMCell(6),
    "rnn": lambda: tfcharlm.RNNCell(6),
    "gru": lambda: tfcharlm.GRUCell(6),
    "peephole": lambda: make_cell("peephole_lstm", 6),
    "keras": lambda: keras.layers.LSTMCell(6),
    "stack": lambda: keras.layers.StackedRNNCells([tfcharlm.LSTMCell(4), tfcharlm.LSTMCell(5)]),
}


QUICK = [("lstm", "word"), ("gru", "char"), ("keras", "char")]
SLOW = [("lstm", "byte"), ("lstm", "char"), ("rnn", "char"), ("peephole", "char"), ("stack", "char")]


@pytest.mark.parametrize(("cell", "level"), [*QUICK, *(pytest.param(*one, marks=pytest.mark.slow) for one in SLOW)])
def test_any_cell_learns_from_what_repeats(cell, level):
    keras.utils.set_random_seed(2)
    text = "to be or not\n" * 90
    vocabulary = Vocabulary.from_text(text, level)
    model = tfcharlm.CharLM(vocabulary, [CELLS[cell]()], embedding_dim=5)
    reader = DynamicEvaluation(model, 0.003, segment_length=13, statistics_text=text)
    nats = reader.read(text)
    half = len(nats) // 2
    assert nats[half:].mean() > nats[:half].mean() + 0.1


def test_a_vocabulary_without_newline_gives_its_first_token():
    keras.utils.set_random_seed(2)
    model = tfcharlm.CharLM(Vocabulary("abc"), [tfcharlm.RNNCell(4)])
    reader = DynamicEvaluation(model, segment_length=5)
    whole = reader.read("abcab" * 7)
    assert len(whole) == 34 and model.score("abcab", adapt=reader)["tokens"] == 4
    reader.reset()
    pieces = [reader.read(""), *(reader.read(piece, continued=True) for piece in ("a", "bca", "b" + "abcab" * 6))]
    assert [len(piece) for piece in pieces] == [0, 0, 3, 31]
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-5)


def test_frozen_layers_do_not_learn(rng):
    keras.utils.set_random_seed(2)
    model = tfcharlm.CharLM(VOCABULARY, [tfcharlm.LSTMCell(5)], embedding_dim=3)
    model.embedding.trainable = False
    reader = reader_of(model)
    reader.read(random_text(rng, 50))
    changed = [(a != b).any() for a, b in zip(reader.model.get_weights(), model.get_weights(), strict=True)]
    assert not changed[0] and all(changed[1:])


def test_scale_of_gradients(rng):
    square = np.outer(rng.random(4), rng.random(7))
    noisy, vector = rng.random((3, 4, 2)), rng.random(5)
    scales = gradient_scale([square, vector, np.zeros((2, 3)), noisy])
    # A product of a row and a column is kept exactly.
    np.testing.assert_allclose(scales[0], np.sqrt(square), rtol=1e-12)
    np.testing.assert_allclose(scales[1], np.sqrt(vector), rtol=1e-12)
    assert not scales[2].any() and scales[3].shape == noisy.shape
    assert [len(piece) for piece in pieces(np.arange(10_000), 500)] == [500] * 16


ERRORS = [
    ({"learning_rate": -1}, "learning_rate must be a number from 0 up; received -1."),
    ({"learning_rate": "fast"}, "learning_rate must be a number from 0 up; received 'fast'."),
    ({"decay": 1.5}, "decay must be a number from 0 to 1; received 1.5."),
    ({"segment_length": 0}, "segment_length must be a whole number from 1 to 250; received 0."),
    ({"statistics_text": "abc"}, "statistics_text must have more than 14 tokens, two segments; received 3."),
    ({"statistics_text": 7}, "statistics_text must be a string; received"),
]


@pytest.mark.parametrize(("arguments", "message"), ERRORS)
def test_errors_of_arguments(model, arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        reader_of(model, **arguments)


def test_errors_of_adapt(model, reader):
    other = tfcharlm.CharLM(Vocabulary("xyz\n"), [tfcharlm.RNNCell(4)])
    for method in (model.score, model.token_log_probabilities, model.generate):
        with pytest.raises(ValueError, match="adapt must be True, False or a DynamicEvaluation; received 'yes'"):
            method("ab", adapt="yes")
    with pytest.raises(ValueError, match="same vocabulary"):
        other.score("xy", adapt=reader)
    with pytest.raises(ValueError, match="seed must be an integer"):
        model.generate("ab", seed="x", adapt=reader)
    other.trainable = False
    with pytest.raises(ValueError, match="layers are all frozen"):
        DynamicEvaluation(other)
