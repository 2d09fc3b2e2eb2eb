"""CharLM.generate and stream: against NumPy, across batches and pieces; what is refused."""

import itertools

import keras
import numpy as np
import pytest
from helpers.letters import (
    PROMPTS,
    SAMPLING,
    VOCABULARY,
    check_a_row_depends_neither_on_its_batch_nor_on_the_length,
    check_a_stop_string_is_found_across_pieces,
    check_generate_is_the_sampling_of_the_reference,
    generate_in_graph,
    random_text,
)

import tfcharlm
from tfcharlm.generation import TextStreamer, streaming
from tfcharlm.text import Vocabulary


def test_the_model_of_these_tests_remembers(model):
    """Prompts that end alike are continued differently with the same noise, and seeds make different texts."""
    prompts = [start + "ab" for start in ("", "a", "h", "é", "ca", "\n\n", "dd", "gf ")]
    texts = model.generate(prompts, max_length=60, seed=[5] * len(prompts))
    assert len({text[len(prompt) :] for prompt, text in zip(prompts, texts, strict=True)}) >= 6
    assert len(set(model.generate(["ab"] * 20, max_length=30, seed=1))) == 20


@pytest.mark.parametrize("temperature", [0.0, 0.8, 1.5])
@pytest.mark.parametrize("prompt", PROMPTS, ids=repr)
def test_generate_is_the_sampling_of_the_reference(model, prompt, temperature):
    check_generate_is_the_sampling_of_the_reference(model, prompt, temperature)


@pytest.mark.parametrize(("read", "written"), [(510, 511), (511, 512), (512, 513), (700, 1300)])
def test_blocks_of_tokens_join(model, rng, read, written):
    """A block of the compiled loop has 512 tokens; the newline before a prompt is one of them."""
    check_generate_is_the_sampling_of_the_reference(model, random_text(rng, read), 0.8, written)


@pytest.mark.parametrize("sampling", SAMPLING, ids=str)
def test_a_row_depends_neither_on_its_batch_nor_on_the_length(model, sampling):
    check_a_row_depends_neither_on_its_batch_nor_on_the_length(model, **sampling)


def make_model(level, cells):
    keras.utils.set_random_seed(3)
    vocabulary = Vocabulary.from_text("to be, or not: é\nnot", level)
    return tfcharlm.CharLM(vocabulary, [cell(4) for cell in cells], embedding_dim=3)


@pytest.fixture(scope="module")
def byte_model():
    return make_model("byte", [tfcharlm.LSTMCell])


def check_that_rows_and_pieces_are_alike(model):
    prompts = ["to be", "", "not: é"]
    texts = model.generate(prompts, max_length=40, seed=5)
    for row, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
        assert model.generate(prompt, max_length=40, seed=5 + row) == text
        assert prompt + "".join(model.stream(prompt, max_length=40, seed=5 + row)) == text


def test_bytes_are_generated_and_streamed_alike(byte_model):
    check_that_rows_and_pieces_are_alike(byte_model)


@pytest.mark.parametrize(
    ("level", "cells"),
    [
        ("word", [tfcharlm.RNNCell, tfcharlm.LSTMCell]),
        # The vocabulary knows nothing of the cells.
        pytest.param("byte", [tfcharlm.RNNCell, tfcharlm.LSTMCell], marks=pytest.mark.slow),
        pytest.param("word", [tfcharlm.LSTMCell], marks=pytest.mark.slow),
    ],
)
def test_bytes_and_words_are_generated_and_streamed_alike(level, cells):
    check_that_rows_and_pieces_are_alike(make_model(level, cells))


def test_numbers_of_numpy_are_numbers(model):
    expected = model.generate("a", max_length=5, top_k=3, seed=2)
    assert model.generate("a", max_length=np.int64(5), top_k=np.int32(3), seed=np.int64(2)) == expected
    assert model.generate("a", max_length=5, temperature=np.float32(1), top_k=3, seed=np.array([2])) == expected


def test_other_seeds_give_other_texts(model):
    assert model.generate("a", max_length=30) != model.generate("a", max_length=30)
    assert model.generate([], max_length=3) == []
    assert model.generate("a", max_length=0) == "a"


@pytest.mark.parametrize("stop", ["a", "e g", ["gg", "eh", "é"], "never found", " " * 12])
def test_a_text_ends_before_its_first_stop_string(model, stop):
    whole = model.generate(PROMPTS, max_length=150, seed=5)
    stopped = model.generate(PROMPTS, max_length=150, seed=5, stop=stop)
    for prompt, text, result in zip(PROMPTS, whole, stopped, strict=True):
        rest = text[len(prompt) :]
        positions = [rest.find(s) for s in ([stop] if isinstance(stop, str) else stop)]
        ends = min((position for position in positions if position >= 0), default=len(rest))
        assert result == prompt + rest[:ends]
    pieces = list(model.stream(PROMPTS[0], max_length=150, seed=5, stop=stop))
    assert PROMPTS[0] + "".join(pieces) == stopped[0]


def test_a_stop_string_is_found_across_pieces(model):
    check_a_stop_string_is_found_across_pieces(model)


def test_where_a_text_is_cut_into_pieces_changes_nothing(rng):
    """Stop strings that overlap, begin alike and contain each other; every way of cutting, seen as a whole."""
    vocabulary = Vocabulary("abc")
    for _ in range(300):
        text = vocabulary.decode(rng.integers(0, 3, 9))
        stops = [vocabulary.decode(rng.integers(0, 3, n)) for n in rng.integers(1, 5, rng.integers(1, 4))]
        positions = [position for position in map(text.find, stops) if position >= 0]
        cuts = [0, *np.flatnonzero(rng.integers(0, 2, 8)) + 1, 9]
        continuation = TextStreamer(vocabulary, stops)
        pieces = [
            continuation.add(vocabulary.encode(text[begin:end]), final=end == 9)
            for begin, end in itertools.pairwise(cuts)
        ]
        assert "".join(pieces) == text[: min(positions, default=9)], (text, stops, cuts)


@pytest.mark.parametrize(
    ("seconds", "sizes"), [(0.0, [16, 32, 64, 128, 256, 512, 512, 80]), (1.0, [16] * 100)], ids=["fast", "slow"]
)
def test_a_fast_model_writes_ahead_of_its_stream(model, monkeypatch, seconds, sizes):
    """Every piece has 16 tokens, but not every piece is a call of the graph, unless somebody would have to wait."""
    counts, decode, ticks = [], model.text_graph().decode, itertools.count()
    monkeypatch.setattr(
        model.text_graph(),
        "decode",
        lambda seed, position, count, *rest: counts.append(int(count)) or decode(seed, position, count, *rest),
    )
    monkeypatch.setattr(streaming, "clock", lambda: next(ticks) * seconds)
    pieces = list(model.stream("ab", max_length=1600, seed=3))
    assert counts == sizes
    assert [len(piece) for piece in pieces] == [16] * 100
    assert "ab" + "".join(pieces) == model.generate("ab", max_length=1600, seed=3)
    counts.clear()
    text = model.generate("ab", max_length=1600, seed=3, stop=pieces[5])
    assert text == "ab" + "".join(pieces)[: "".join(pieces).find(pieces[5])]
    assert sum(counts) <= (112 if seconds == 0 else 96)


def test_samples_are_rows_of_their_own_and_are_called_back(model):
    pieces = {}

    def keep(row, piece):
        pieces.setdefault(row, []).append(piece)

    texts = model.generate(["ab", "c"], max_length=40, seed=3, samples=3, callback=keep)
    flat = [text for own in texts for text in own]
    assert flat == [model.generate(p, max_length=40, seed=3 + i) for i, p in enumerate(["ab"] * 3 + ["c"] * 3)]
    assert [p + "".join(pieces[i]) for i, p in enumerate(["ab"] * 3 + ["c"] * 3)] == flat
    assert all(len(own) > 1 for own in pieces.values())
    assert model.generate("ab", max_length=40, seed=3, samples=2) == flat[:2]


def test_weights_that_are_not_finite_give_ids_in_range(model):
    bias = model.head.bias.numpy()
    model.head.bias.assign(np.full(len(VOCABULARY), np.nan))
    try:
        for temperature in (0.0, 1.0):
            assert len(model.generate("ab", max_length=20, temperature=temperature, top_k=3, top_p=0.5)) == 22
            (text,) = generate_in_graph(model, ["ab"], 20, [1], temperature=temperature, top_k=3, top_p=0.5)
            assert len(text) == 22
    finally:
        model.head.bias.assign(bias)


def test_bytes_that_are_no_text_become_replacement_characters(byte_model):
    """Sampled bytes are seldom UTF-8: the graph's text is, and is the one that Python gives."""
    prompts, seeds = [f"é{i}" for i in range(20)], list(range(20))
    texts = byte_model.generate(prompts, max_length=80, seed=seeds, temperature=2.0)
    assert generate_in_graph(byte_model, prompts, 80, seeds, temperature=2.0) == texts
    assert any("\ufffd" in text for text in texts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompts": ["a", 7]}, "prompts must be a string or a list of strings"),
        ({"prompts": None}, "prompts must be a string or a list of strings"),
        ({"prompts": b"a"}, "prompts must be a string or a list of strings"),
        ({"temperature": 10**400}, "temperature must be a number from 0"),
        ({"prompts": "axb"}, r"character 'x' \(U\+0078\) at position 1"),
        ({"temperature": -1.0}, "temperature must be a number from 0"),
        ({"temperature": float("nan")}, "temperature must be a number from 0"),
        ({"temperature": 1e39}, "temperature must be a number from 0"),
        ({"temperature": "hot"}, "temperature must be a number from 0"),
        ({"max_length": -3}, "max_length must be a whole number from 0"),
        ({"max_length": True}, "max_length must be a whole number from 0"),
        ({"seed": 1.5}, "seed must be an integer of 64 bits"),
        ({"seed": ["1"]}, "seed must be an integer of 64 bits"),
        ({"top_p": 1e-50}, "top_p must be a number above 0"),
        ({"top_k": 1.5}, "top_k must be a whole number from 0"),
        ({"top_p": 0.0}, "top_p must be a number above 0"),
        ({"seed": 2**64}, "seed must be an integer of 64 bits"),
        ({"seed": [1, 2]}, "seed must be an integer of 64 bits, or a list of 1"),
        ({"seed": [1], "samples": 2}, "seed must be an integer of 64 bits, or a list of 2"),
        ({"samples": 0}, "samples must be a whole number from 1 to 1048576"),
        ({"stop": ""}, "stop must be None, a string or a list of strings"),
        ({"stop": ["a", 3]}, "stop must be None, a string or a list of strings"),
    ],
)
def test_python_names_the_argument_out_of_bounds(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.generate(**{"prompts": "a", "max_length": 3} | arguments)


def test_an_empty_prompt_needs_a_line_to_start():
    model = tfcharlm.CharLM(Vocabulary("abc"), [tfcharlm.RNNCell(2)])
    with pytest.raises(ValueError, match="prompt must not be empty, because this model has no newline"):
        model.generate("")
