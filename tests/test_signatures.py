"""Scores, beams, stops and the three signatures: against NumPy, against enumeration, and with whatever may come in."""

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_generation import PROMPTS, VOCABULARY, make_model, parameters_of, run

import tfcharlm
from tfcharlm import reference
from tfcharlm.generation.limits import MAX_BYTES, MAX_ROWS, MAX_TOKENS
from tfcharlm.generation.streaming import TextStreamer
from tfcharlm.text import Vocabulary

LETTERS = Vocabulary("ab\n")


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def directory(model, tmp_path_factory):
    return model.export(tmp_path_factory.mktemp("saved_models") / "letters" / "1")


@pytest.fixture(scope="module")
def signatures(directory):
    return tf.saved_model.load(str(directory)).signatures


def make_small():
    """A model of three letters, of which every string can be tried."""
    keras.utils.set_random_seed(5)
    model = tfcharlm.CharLM(LETTERS, [tfcharlm.LSTMCell(4)], embedding_dim=2)
    rng = np.random.default_rng(5)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def small():
    return make_small()


def reference_score(model, text):
    """The sum of the log-probabilities of a text that begins a line, in NumPy."""
    ids = VOCABULARY.encode("\n" + text)[None]
    logits, _, _ = reference.step(parameters_of(model), ids, reference.initial_state(parameters_of(model), 1))
    return np.log(reference.softmax(logits[0, :-1]))[np.arange(len(text)), ids[0, 1:]].sum()


def random_text(rng, length):
    return VOCABULARY.decode(rng.integers(0, len(VOCABULARY), length))


def test_scores_are_those_of_the_reference(rng, model, signatures):
    """Longer and shorter than the pieces in which a text is read, and of unequal length in one batch."""
    texts = ["", "a", *(random_text(rng, n) for n in (2, 7, 511, 512, 513, 1300))]
    expected = [reference_score(model, text) for text in texts]
    scores = model.score(texts)
    from_graph = {name: value.numpy() for name, value in signatures["score"](texts=tf.constant(texts)).items()}
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


def test_the_probabilities_of_all_strings_add_up_to_one(small, tmp_path):
    strings = ["".join(letters) for letters in itertools.product(LETTERS.tokens, repeat=4)]
    np.testing.assert_allclose(np.exp(small.score(strings)["log_probability"]).sum(), 1, atol=1e-5)
    signature = tf.saved_model.load(str(small.export(tmp_path / "1"))).signatures["score"]
    total = np.exp(signature(texts=tf.constant(strings))["log_probability"].numpy()).sum()
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


def test_without_a_newline_the_first_token_is_given():
    keras.utils.set_random_seed(4)
    model = tfcharlm.CharLM(Vocabulary("ab"), [tfcharlm.RNNCell(3)])
    strings = ["a" + "".join(rest) for rest in itertools.product("ab", repeat=3)]
    scores, signature = model.score(strings), model.text_graph().score(tf.constant(strings))
    np.testing.assert_allclose(np.exp(scores["log_probability"]).sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(signature["log_probability"], scores["log_probability"], rtol=1e-5)
    assert set(scores["tokens"]) == set(signature["tokens"].numpy()) == {3}
    assert model.text_graph().score(tf.constant(["", "a"]))["tokens"].numpy().tolist() == [0, 0]


@pytest.mark.parametrize("prompt", ["", "ab", "b\n"])
def test_a_beam_of_full_width_is_an_exhaustive_search(small, prompt):
    strings = [prompt + "".join(letters) for letters in itertools.product(LETTERS.tokens, repeat=4)]
    scores = small.score(strings)["log_probability"] - small.score(prompt)["log_probability"]
    found = small.beam_search(prompt, max_length=4, beams=3**4)
    assert [text for text, _ in found] == [strings[i] for i in np.argsort(-scores)]
    np.testing.assert_allclose([score for _, score in found], np.sort(scores)[::-1], atol=1e-5)


def test_a_beam_of_one_is_greedy(model):
    ((text, score),) = model.beam_search("ab", max_length=30, beams=1)
    assert text == model.generate("ab", max_length=30, temperature=0.0)
    expected = model.score(text)["log_probability"] - model.score("ab")["log_probability"]
    np.testing.assert_allclose(score, expected, atol=1e-4)
    (alone,) = model.beam_search("ab", max_length=0)
    assert alone == ("ab", 0.0)


@pytest.mark.parametrize("stop", ["a", "e g", ["gg", "eh", "é"], "never found", " " * 12])
def test_a_text_ends_before_its_first_stop_string(model, stop):
    whole = model.generate(PROMPTS, max_length=150, seed=5)
    stopped = model.generate(PROMPTS, max_length=150, seed=5, stop=stop)
    for prompt, text, result in zip(PROMPTS, whole, stopped, strict=True):
        rest = text[len(prompt) :]
        places = [rest.find(s) for s in ([stop] if isinstance(stop, str) else stop)]
        ends = min((place for place in places if place >= 0), default=len(rest))
        assert result == prompt + rest[:ends]
    pieces = list(model.stream(PROMPTS[0], max_length=150, seed=5, stop=stop))
    assert PROMPTS[0] + "".join(pieces) == stopped[0]


def test_a_stop_string_is_found_across_pieces(model):
    """Pieces have 16 tokens: these stop strings begin in one and end in the next."""
    for prompt in PROMPTS:
        rest = model.generate(prompt, max_length=60, seed=5)[len(prompt) :]
        for begin in (12, 15, 30):
            stop = rest[begin : begin + 6]
            assert "".join(model.stream(prompt, max_length=60, seed=5, stop=stop)) == rest[: rest.find(stop)]


def test_where_a_text_is_cut_into_pieces_changes_nothing(rng):
    """Stop strings that overlap, begin alike and contain each other; every way of cutting, seen as a whole."""
    vocabulary = Vocabulary("abc")
    for _ in range(300):
        text = vocabulary.decode(rng.integers(0, 3, 9))
        stops = [vocabulary.decode(rng.integers(0, 3, n)) for n in rng.integers(1, 5, rng.integers(1, 4))]
        places = [place for place in map(text.find, stops) if place >= 0]
        cuts = [0, *np.flatnonzero(rng.integers(0, 2, 8)) + 1, 9]
        continuation = TextStreamer(vocabulary, stops)
        pieces = [
            continuation.add(vocabulary.encode(text[begin:end]), final=end == 9)
            for begin, end in itertools.pairwise(cuts)
        ]
        assert "".join(pieces) == text[: min(places, default=9)], (text, stops, cuts)


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stop": ""}, "stop must be None, a string or a list of strings"),
        ({"stop": ["a", 3]}, "stop must be None, a string or a list of strings"),
        ({"samples": 0}, "samples must be a whole number from 1 up"),
        ({"seed": [1], "samples": 2}, "seed must be an integer of 64 bits, or a list of 2"),
    ],
)
def test_python_names_what_is_wrong(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.generate("ab", max_length=3, **arguments)


def test_beams_and_scores_name_what_is_wrong(model):
    with pytest.raises(ValueError, match="beams must be a whole number from 1 up"):
        model.beam_search("ab", beams=0)
    with pytest.raises(ValueError, match=r"character 'x' .*position 1"):
        model.score(["a", "ax"])
    with pytest.raises(ValueError, match=r"prompt: character 'x'"):
        model.next_token_probabilities("x")


def test_step_is_the_step_of_the_model(rng, model, signatures):
    states = [rng.normal(size=(2, s.shape[1])).astype(np.float32) for s in model.initial_state(2)]
    tokens = rng.integers(0, len(VOCABULARY), (2, 7)).astype(np.int32)
    logits, after = model.step(tf.constant(tokens), [tf.constant(s) for s in states])
    named = {f"state_{i}": tf.constant(s) for i, s in enumerate(states)}
    result = signatures["step"](tokens=tf.constant(tokens), **named)
    np.testing.assert_allclose(result["logits"], logits, atol=1e-5)
    for i, state in enumerate(after):
        np.testing.assert_allclose(result[f"state_{i}"], state, atol=1e-5)
    for t in range(7):
        one = signatures["step"](tokens=tf.constant(tokens[:, t : t + 1]), **named)
        named = {name: one[name] for name in named}
        np.testing.assert_allclose(one["logits"][:, 0], logits[:, t], atol=1e-5)


TEXT_LENGTH = 30

BARE = """
import json, sys
sys.modules["tfcharlm"] = None            # importing it raises ImportError
import tensorflow as tf
generate = tf.saved_model.load(sys.argv[1]).signatures["generate"]
prompts, seeds, length, batches = json.load(sys.stdin)
results = []
for batch in batches:
    texts = []
    for i in range(0, len(seeds), batch):
        texts += generate(
            prompts=tf.constant(prompts[i : i + batch]), max_length=tf.constant(length),
            temperature=tf.constant(0.9), top_k=tf.constant(0), top_p=tf.constant(0.95),
            seed=tf.constant(seeds[i : i + batch], tf.int64))["text"].numpy().tolist()
    results.append([text.decode() for text in texts])
print(json.dumps(results))
"""


@pytest.mark.parametrize(
    ("number", "batches"),
    [
        pytest.param(12, [1, 9, 12], id="quick"),
        pytest.param(200, [1, 2, 3, 8, 9, 33, 64, 200], id="all", marks=pytest.mark.slow),
    ],
)
def test_the_same_seed_gives_the_same_text_everywhere(rng, model, directory, tmp_path, number, batches):
    """Each seed with a prompt of its own: Python, a process without this package, saved_model_cli."""
    # Every prompt stands there four times, so that only seeds tell the texts apart.
    prompts = [random_text(rng, int(n)) for n in rng.integers(0, 20, number // 4)] * 4
    seeds = [int(seed) for seed in rng.integers(-(2**63), 2**63 - 1, number)]
    settings = {"max_length": TEXT_LENGTH, "temperature": 0.9, "top_p": 0.95}
    expected = model.generate(prompts, seed=seeds, **settings)
    assert len(set(expected)) == number
    order = rng.permutation(number)
    shuffled = model.generate([prompts[i] for i in order], seed=[seeds[i] for i in order], **settings)
    assert shuffled == [expected[i] for i in order]
    for batch in batches:
        for i in range(0, number, batch):
            own = slice(i, i + batch)
            assert model.generate(prompts[own], seed=seeds[own], **settings) == expected[own], f"in batches of {batch}"
    request = json.dumps([prompts, seeds, TEXT_LENGTH, batches])
    for texts in json.loads(run(sys.executable, "-c", BARE, directory, input=request, cwd=tmp_path)):
        assert texts == expected
    for rows in batches[-1:]:
        assert from_saved_model_cli(directory, tmp_path, prompts[:rows], seeds[:rows]) == expected[:rows]


def from_saved_model_cli(directory, tmp_path, prompts, seeds):
    inputs = {
        "prompts": np.array([p.encode() for p in prompts], object).astype(bytes), "max_length": np.int32(TEXT_LENGTH),
        "temperature": np.float32(0.9), "top_k": np.int32(0), "top_p": np.float32(0.95), "seed": np.array(seeds),
    }  # fmt: skip
    np.savez(tmp_path / "inputs.npz", **inputs)
    named = ";".join(f"{name}={tmp_path / 'inputs.npz'}[{name}]" for name in inputs)
    tool = [Path(sys.executable).parent / "saved_model_cli", "run", "--dir", directory, "--overwrite"]
    run(*tool, "--tag_set", "serve", "--signature_def", "generate", "--inputs", named, "--outdir", tmp_path)
    return [text.decode() for text in np.load(tmp_path / "text.npy", allow_pickle=True)]


def fuzzed_texts(rng, wild):
    rows = int(rng.choice([0, 1, 2, 3, 8, 9, 33, MAX_ROWS + 1], p=[0.05, 0.6, 0.2, 0.1, 0.015, 0.015, 0.015, 0.005]))
    texts = [random_text(rng, int(n)).encode() for n in rng.integers(0, 12, rows)]
    strange = [b"", b"\x00", b"\xff\xfe", b"a\xc3", "\u0000\ufffd\U0001f600".encode(), b"x" * 40, bytes(range(256))]
    if wild and rows and rng.random() < 0.5:
        texts[rng.integers(rows)] = strange[rng.integers(len(strange))]
    if wild and rows and rng.random() < 0.01:
        texts[rng.integers(rows)] = b"a" * (MAX_BYTES + 1)
    shape = (rows, 1) if wild and rng.random() < 0.03 else (rows,)
    return tf.constant(texts, tf.string, shape=shape)


def fuzzed_generate(rng, wild):
    prompts = fuzzed_texts(rng, wild)
    integers = [-(2**31), -1, 0, 1, 2, 3, 7, MAX_TOKENS + 1, 2**31 - 1]
    floats = [np.nan, np.inf, -np.inf, -1.0, -0.0, 0.0, 1e-45, 1e-30, 0.5, 1.0, 1.0000001, 2.0, 1e30, 3.4e38]
    tame = {"max_length": 4, "temperature": 0.7, "top_k": 2, "top_p": 0.9, "rows": prompts.shape[0]}
    for name, values in {"max_length": integers, "temperature": floats, "top_k": integers, "top_p": floats}.items():
        if rng.random() < (0.3 if wild else 0):
            tame[name] = values[rng.integers(len(values))]
    if wild and rng.random() < 0.1:
        tame["rows"] += int(rng.integers(0, 3))
    seeds = rng.integers(-(2**63), 2**63 - 1, tame.pop("rows"))
    dtypes = {"max_length": tf.int32, "temperature": tf.float32, "top_k": tf.int32, "top_p": tf.float32}
    named = {name: tf.constant(value, dtypes[name]) for name, value in tame.items()}
    if wild and rng.random() < 0.05:
        name = list(named)[rng.integers(len(named))]
        named[name] = named[name][None]
    return {"prompts": prompts, "seed": tf.constant(seeds, tf.int64), **named}


def fuzzed_step(rng, wild, sizes):
    rows, length = rng.integers(0 if wild else 1, 4, 2)
    low, high = (-3, len(VOCABULARY) + 3) if wild and rng.random() < 0.5 else (0, len(VOCABULARY))
    states = [rng.normal(size=(rows, size)).astype(np.float32) for size in sizes]
    if wild and rng.random() < 0.3:
        number = rng.integers(len(states))
        strange = [np.full_like(states[number], v) for v in (np.nan, np.inf, 3e38)]
        states[number] = [*strange, states[number][:-1], np.zeros((rows + 1, sizes[number]), np.float32)][
            rng.integers(5)
        ]
    tokens = rng.integers(low, high, (rows, length))
    named = {f"state_{i}": tf.constant(s, tf.float32, s.shape) for i, s in enumerate(states)}
    return {"tokens": tf.constant(tokens, tf.int32, (rows, length)), **named}


NAMES = {
    "generate": ("prompts", "max_length", "temperature", "top_k", "top_p", "seed"),
    "score": ("texts",),
    "step": ("tokens", "state_0", "state_1", "state_2"),
}


@pytest.mark.parametrize(
    "calls", [pytest.param(1500, id="quick"), pytest.param(20_000, id="all", marks=pytest.mark.slow)]
)
def test_whatever_comes_in_gives_text_or_a_named_error(rng, model, signatures, calls):
    sizes = [s.shape[1] for s in model.initial_state(1)]
    refused = answered = 0
    for number in range(calls):
        wild = number % 4 > 0
        name = ("generate", "generate", "score", "step")[rng.integers(4)]
        make = {"generate": fuzzed_generate, "score": lambda *a: {"texts": fuzzed_texts(*a)}}.get(name)
        arguments = make(rng, wild) if make else fuzzed_step(rng, wild, sizes)
        try:
            result = signatures[name](**arguments)
        except tf.errors.InvalidArgumentError as error:
            refused += 1
            field = "|".join(NAMES[name])
            named = rf"assertion failed: \[({field})\b|Shape of tensor \S*({field})\b"
            assert re.search(named, error.message), error.message
            continue
        answered += 1
        check_result(name, arguments, {key: value.numpy() for key, value in result.items()})
    assert min(refused, answered) > calls / 10


def check_result(name, arguments, result):
    if name == "generate":
        for prompt, text in zip(arguments["prompts"].numpy(), result["text"], strict=True):
            assert text.startswith(prompt)
            assert len(text.decode()) == len(prompt.decode()) + int(arguments["max_length"])
            VOCABULARY.encode(text.decode())
    elif name == "score":
        texts = [text.decode() for text in arguments["texts"].numpy()]
        assert result["tokens"].tolist() == [len(text) for text in texts]
        assert np.isfinite(result["log_probability"]).all() and (result["log_probability"] <= 0).all()
    else:
        assert result["logits"].shape == (*arguments["tokens"].shape, len(VOCABULARY))
        if all((np.abs(value) < 1e6).all() for key, value in arguments.items() if key != "tokens"):
            assert np.isfinite(result["logits"]).all()


def test_weights_that_are_not_finite_give_ids_in_range():
    model = make_model()
    model.head.bias.assign(np.full(len(VOCABULARY), np.nan))
    for temperature in (0.0, 1.0):
        assert len(model.generate("ab", max_length=20, temperature=temperature, top_k=3, top_p=0.5)) == 22
        text = model.text_graph().generate(
            tf.constant(["ab"]), tf.constant(20), tf.constant(temperature), tf.constant(3), tf.constant(0.5),
            tf.constant([1], tf.int64))["text"]  # fmt: skip
        assert len(text.numpy()[0].decode()) == 22


def test_bytes_that_are_no_text_become_replacement_characters(rng):
    """Sampled bytes are seldom UTF-8: the graph's text is, and is the one that Python gives."""
    keras.utils.set_random_seed(2)
    model = tfcharlm.CharLM(Vocabulary.from_text("x", "byte"), [tfcharlm.RNNCell(3)], embedding_dim=2)
    prompts, seeds = [f"é{i}" for i in range(20)], list(range(20))
    texts = model.generate(prompts, max_length=80, seed=seeds, temperature=2.0)
    graph = model.text_graph().generate(
        tf.constant(prompts), tf.constant(80), tf.constant(2.0), tf.constant(0), tf.constant(1.0),
        tf.constant(seeds, tf.int64))["text"]  # fmt: skip
    assert [text.decode() for text in graph.numpy()] == texts
    assert any("\ufffd" in text for text in texts)


@pytest.mark.parametrize(
    "cell",
    [
        lambda policy: tfcharlm.LSTMCell(4, activation="relu", dtype=policy),
        lambda policy: keras.layers.GRUCell(4, dtype=policy),
        lambda policy: tfcharlm.LSTMCell(4, dtype=policy),
    ],
    ids=["no kernel", "of Keras", "kernel"],
)
@pytest.mark.parametrize("policy", ["mixed_bfloat16", pytest.param("float64", marks=pytest.mark.slow)])
def test_models_of_other_dtypes_write_and_score(cell, policy, tmp_path):
    keras.utils.set_random_seed(6)
    model = tfcharlm.CharLM(VOCABULARY, [cell(policy)], embedding_dim=3, dtype=policy)
    signatures = tf.saved_model.load(str(model.export(tmp_path / "1"))).signatures
    text = model.generate("ab", max_length=20, seed=1)
    written = signatures["generate"](
        prompts=tf.constant(["ab"]), max_length=tf.constant(20), temperature=tf.constant(1.0), top_k=tf.constant(0),
        top_p=tf.constant(1.0), seed=tf.constant([1], tf.int64))  # fmt: skip
    assert written["text"].numpy()[0].decode() == text
    scores = signatures["score"](texts=tf.constant([text]))
    np.testing.assert_allclose(scores["log_probability"][0], model.score(text)["log_probability"], rtol=1e-3)


WARM = """
import os, sys
import test_generation
count = lambda: len([name for name in os.listdir(sys.argv[1]) if "before_optimizations.txt" in name])
model = test_generation.make_model()
model.generate("ab", max_length=3, seed=1)
warm = count()
for length in (1, 5, 300, 700):
    model.generate("a" * length, max_length=length, seed=1)
again = count()
model.generate(["a"] * 9, max_length=3, seed=1)
print(warm, again, count())
"""


def test_a_prompt_of_a_new_length_is_not_compiled_again(tmp_path):
    """XLA writes down every module that it compiles: none for a new length, one more for tiles of other rows."""
    environment = {"XLA_FLAGS": f"--xla_dump_to={tmp_path}", "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", WARM, str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=True).stdout
    warm, again, other_tiles = map(int, output.split())
    assert 0 < warm == again < other_tiles


def test_a_large_vocabulary_leaves_fewer_rows():
    """What is held at once is bounded, whatever the vocabulary."""
    words = Vocabulary.from_text(" ".join(f"w{i}" for i in range(40_000)) + "\n", "word")
    model = tfcharlm.CharLM(words, [tfcharlm.RNNCell(2)], embedding_dim=2)
    texts = tf.constant([b","] * 500)
    with pytest.raises(tf.errors.InvalidArgumentError, match="texts: at most 419 a call; received"):
        model.text_graph().score(texts)
    with pytest.raises(tf.errors.InvalidArgumentError, match="tokens: at most 419 a call"):
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
