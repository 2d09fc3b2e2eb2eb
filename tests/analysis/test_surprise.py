"""What a text costs a model, piece by piece and line by line: differences of the scores of its beginnings."""

import numpy as np
import pytest

import tfcharlm
from tfcharlm.analysis import join_surprises, record_surprise
from tfcharlm.text import Vocabulary

LEVELS = ["char", "byte", "word", "spelled"]
# Empty lines, no newline at the end, characters of one to four bytes.
TEXT = "to bé, or\n\nnot ☃ to\n be\n\n\n😀 oh\tno"


@pytest.fixture(scope="module")
def models():
    """A model with random weights for each level."""
    rng = np.random.default_rng(7)
    made = {}
    for level in LEVELS:
        vocabulary = Vocabulary.from_text("to be\n") if level == "spelled" else Vocabulary.from_text(TEXT, level)
        model = tfcharlm.CharLM(vocabulary, [tfcharlm.RNNCell(5)], embedding_dim=3)
        model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
        made[level] = model
    return made


def bits_of_beginnings(model, text, ends):
    """The bits of every part of a text that ends at one of these indices, by scores of all beginnings."""
    nats = model.score([text[:end] for end in ends])["log_probability"]
    return -np.diff(nats, prepend=0) / np.log(2)


@pytest.mark.parametrize("level", LEVELS)
def test_pieces_cost_what_a_longer_beginning_costs_more(models, level):
    model = models[level]
    surprise = record_surprise(model, TEXT)
    assert "".join(surprise.pieces) == surprise.text == TEXT and all(surprise.pieces)
    if level != "word":
        assert surprise.pieces == tuple(TEXT)
    ends = np.cumsum([len(piece) for piece in surprise.pieces])
    assert surprise.ends.tolist() == ends.tolist()
    np.testing.assert_allclose(surprise.bits, bits_of_beginnings(model, TEXT, ends), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("text", [TEXT, TEXT + "\n", "\n", "\n\nto", "to"])
def test_lines_cost_what_a_longer_beginning_costs_more_and_add_up_to_the_text(models, level, text):
    model = models[level]
    surprise = record_surprise(model, text)
    lines = text.splitlines(keepends=True)
    assert [line.text for line in surprise.lines] == [line.rstrip("\n") for line in lines]
    assert [line.number for line in surprise.lines] == list(range(1, len(lines) + 1))
    lengths = [len(line) for line in lines]
    assert [line.characters for line in surprise.lines] == lengths
    expected = bits_of_beginnings(model, text, np.cumsum(lengths))
    np.testing.assert_allclose([line.bits for line in surprise.lines], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose([line.bits_per_character for line in surprise.lines], expected / lengths, rtol=1e-4)
    total = model.score(text)
    assert set(surprise.scores) == set(total) and surprise.scores["tokens"] == total["tokens"]
    for name, value in surprise.scores.items():
        np.testing.assert_allclose(value, total[name], rtol=1e-5)
    assert sum(line.bits for line in surprise.lines) == pytest.approx(surprise.bits.sum(), rel=1e-12)


def test_what_is_given_costs_nothing_and_counts_for_nothing(rng):
    model = tfcharlm.CharLM(Vocabulary("abc"), [tfcharlm.RNNCell(3)], embedding_dim=2)
    text = "".join(rng.choice(list("abc"), 11))
    surprise, total = record_surprise(model, text), model.score(text)
    assert surprise.given == 1 and surprise.bits[0] == 0 and (surprise.bits[1:] > 0).all()
    assert surprise.scores == pytest.approx(total, rel=1e-5)
    (line,) = surprise.lines
    assert line.characters == 10
    assert line.bits_per_character == pytest.approx(total["bits_per_character"], rel=1e-5)


def test_an_empty_text_costs_nothing(models):
    surprise = record_surprise(models["char"], "")
    assert (surprise.pieces, surprise.lines) == ((), ()) and surprise.scores == models["char"].score("")


def test_a_model_that_has_diverged_is_not_hidden(models):
    model = tfcharlm.CharLM(Vocabulary("ab\n"), [tfcharlm.RNNCell(3)], embedding_dim=2)
    model.head.bias.assign([np.nan, 0, 0])
    surprise = record_surprise(model, "a\nb")
    assert surprise.given == 0 and np.isnan(surprise.bits).all()
    assert all(np.isnan(line.bits) for line in surprise.lines) and np.isnan(surprise.scores["bits_per_character"])


def test_an_unknown_character_is_named():
    with pytest.raises(ValueError, match=r"character 'x' .*position 3"):
        record_surprise(tfcharlm.CharLM(Vocabulary(" ot\n"), [tfcharlm.RNNCell(5)]), "to x")


def test_texts_that_were_read_one_by_one_are_one_text(models):
    texts = ["to be\n", "", "or\nnot\n", "to"]
    parts = [record_surprise(models["char"], text) for text in texts]
    whole = join_surprises(parts)
    assert whole.text == "".join(texts) and whole.pieces == sum((part.pieces for part in parts), ())
    assert whole.bits.tolist() == np.concatenate([part.bits for part in parts]).tolist()
    assert [line.text for line in whole.lines] == ["to be", "or", "not", "to"]
    expected = [line.bits for part in parts for line in part.lines]
    np.testing.assert_allclose([line.bits for line in whole.lines], expected)
    assert whole.tokens == sum(part.tokens for part in parts)
    given = record_surprise(tfcharlm.CharLM(Vocabulary("ab"), [tfcharlm.RNNCell(3)]), "ab")
    assert join_surprises([given]).scores == given.scores
    for wrong in ([], [given, given]):
        with pytest.raises(ValueError, match="at least one, and all but the first without given characters"):
            join_surprises(wrong)
