"""Sampling and generation: against NumPy, against enumeration, and across batches, streams and exported models."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcharlm
from tfcharlm import reference
from tfcharlm.generation.sampling import sample, threefry, truncate_logits, uniform
from tfcharlm.text import Vocabulary

VOCABULARY = Vocabulary("\n abcdefghé")
PROMPTS = ["ab", "", "h", "a bad cabé", "\nfad"]
SETTINGS = [
    {"temperature": 1.0},
    {"temperature": 0.7, "top_k": 4},
    {"temperature": 1.3, "top_p": 0.6},
    {"temperature": 0.9, "top_k": 6, "top_p": 0.8},
    {"temperature": 0.0},
]
settings = pytest.mark.parametrize("arguments", SETTINGS, ids=str)


def make_model():
    """An LSTM over an RNN, with weights under which the text depends on its past (and a test that it does)."""
    keras.utils.set_random_seed(11)
    rng = np.random.default_rng(11)
    model = tfcharlm.CharLM(VOCABULARY, [tfcharlm.LSTMCell(6), tfcharlm.RNNCell(5)], embedding_dim=3)
    scales = {"embeddings": 3.0, "kernel": 1.5, "recurrent_kernel": 0.5, "bias": 0.5}
    model.set_weights([rng.normal(scale=scales[w.name], size=w.shape) for w in model.weights])
    return model


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def directory(model, tmp_path_factory):
    return model.export(tmp_path_factory.mktemp("saved_models") / "letters" / "1")


def softmax(logits):
    return np.exp(logits - logits.max(-1, keepdims=True)) / np.exp(logits - logits.max(-1, keepdims=True)).sum(
        -1, keepdims=True
    )


def parameters_of(model):
    arrays = [w.astype(np.float64) for w in model.get_weights()]
    return reference.Parameters(
        arrays[0], (reference.LSTMWeights(*arrays[1:4]), reference.RNNWeights(*arrays[4:7])), *arrays[7:]
    )


def test_the_model_of_these_tests_remembers(model):
    """Prompts that end alike are continued differently with the same noise, and seeds make different texts."""
    prompts = [start + "ab" for start in ("", "a", "h", "é", "ca", "\n\n", "dd", "gf ")]
    texts = model.generate(prompts, max_length=60, seed=[5] * len(prompts))
    assert len({text[len(prompt) :] for prompt, text in zip(prompts, texts, strict=True)}) >= 6
    assert len(set(model.generate(["ab"] * 20, max_length=30, seed=1))) == 20


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


@settings
def test_frequencies_follow_the_distribution(rng, arguments):
    logits = rng.normal(size=7).astype(np.float32) * 1.5
    draws = 100_000
    temperature, top_k, top_p = arguments["temperature"], arguments.get("top_k", 0), arguments.get("top_p", 1.0)
    uniforms = tf.reshape(uniform(tf.constant([3], tf.int64), tf.range(draws)), (-1,))
    ids = sample(
        tf.tile(logits[None], (draws, 1)), uniforms, temperature, tf.constant(top_k), tf.constant(top_p)
    ).numpy()
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
    ids = [int(sample(logits, tf.constant([u]), temperature, 0, 1.0)[0]) for u in (0.01, 0.5, 0.99)]
    assert ids == ([0, 1, 2] if temperature > 1 else [1, 1, 1])


@pytest.mark.parametrize("temperature", [0.0, 0.8, 1.5])
@pytest.mark.parametrize("prompt", PROMPTS, ids=repr)
def test_generate_is_the_sampling_of_the_reference(model, prompt, temperature, length=60):
    """Same weights, same noise, in NumPy: the state must advance with every character, prompt and own."""
    parameters = parameters_of(model)
    noise = uniform(tf.constant([9], tf.int64), tf.range(length)).numpy()[0].astype(np.float64)
    ids = reference.sample(parameters, VOCABULARY.encode("\n" + prompt), noise, temperature=temperature)
    assert model.generate(prompt, max_length=length, temperature=temperature, seed=9) == prompt + VOCABULARY.decode(ids)


@pytest.mark.parametrize(("read", "written"), [(510, 511), (511, 512), (512, 513), (700, 1300)])
def test_blocks_of_tokens_join(model, rng, read, written):
    """A block of the compiled loop has 512 tokens; the newline before a prompt is one of them."""
    prompt = VOCABULARY.decode(rng.integers(0, len(VOCABULARY), read))
    test_generate_is_the_sampling_of_the_reference(model, prompt, 0.8, written)


@settings
def test_a_row_does_not_depend_on_its_batch_nor_on_the_length(model, arguments):
    texts = model.generate(PROMPTS, max_length=50, seed=5, **arguments)
    for row, (prompt, text) in enumerate(zip(PROMPTS, texts, strict=True)):
        assert text.startswith(prompt)
        assert len(text) == len(prompt) + 50
        assert model.generate(prompt, max_length=50, seed=5 + row, **arguments) == text
        assert model.generate([prompt], max_length=20, seed=[5 + row], **arguments) == [text[: len(prompt) + 20]]
        assert "".join(model.stream(prompt, max_length=50, seed=5 + row, **arguments)) == text[len(prompt) :]


@pytest.mark.parametrize("level", ["byte", "word"])
@pytest.mark.parametrize("cells", [[tfcharlm.LSTMCell], [tfcharlm.RNNCell, tfcharlm.LSTMCell]], ids=len)
def test_bytes_and_words_are_generated_and_streamed_alike(level, cells):
    keras.utils.set_random_seed(3)
    vocabulary = Vocabulary.from_text("to be, or not: é\nnot", level)
    model = tfcharlm.CharLM(vocabulary, [cell(4) for cell in cells], embedding_dim=3)
    prompts = ["to be", "", "not: é"]
    texts = model.generate(prompts, max_length=40, seed=5)
    for row, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
        assert model.generate(prompt, max_length=40, seed=5 + row) == text
        assert prompt + "".join(model.stream(prompt, max_length=40, seed=5 + row)) == text


@pytest.mark.parametrize("cell", [keras.layers.LSTMCell(3, dropout=0.5), keras.layers.GRUCell(3)], ids=lambda c: c.name)
def test_models_of_keras_cells_are_exported(cell, tmp_path):
    model = tfcharlm.CharLM(VOCABULARY, [cell])
    artefact = tf.saved_model.load(str(model.export(tmp_path / "1")))
    text = artefact.signatures["generate"](
        prompts=tf.constant(["a"]), max_length=tf.constant(9), temperature=tf.constant(1.0), top_k=tf.constant(0),
        top_p=tf.constant(1.0), seed=tf.constant([7], tf.int64))["text"]  # fmt: skip
    assert text.numpy()[0].decode() == model.generate("a", max_length=9, seed=7)


def test_numbers_of_numpy_are_numbers(model):
    expected = model.generate("a", max_length=5, top_k=3, seed=2)
    assert model.generate("a", max_length=np.int64(5), top_k=np.int32(3), seed=np.int64(2)) == expected
    assert model.generate("a", max_length=5, temperature=np.float32(1), top_k=3, seed=np.array([2])) == expected


def test_other_seeds_give_other_texts(model):
    assert model.generate("a", max_length=30) != model.generate("a", max_length=30)
    assert model.generate([], max_length=3) == []
    assert model.generate("a", max_length=0) == "a"


BARE = """
import json, sys
sys.modules["tfcharlm"] = None            # importing it raises ImportError
import tensorflow as tf
signatures = tf.saved_model.load(sys.argv[1]).signatures
texts = []
for signature, prompts, seeds, settings in json.load(sys.stdin):
    texts.append([text.decode() for text in signatures[signature](
        prompts=tf.constant(prompts, tf.string), max_length=tf.constant(40),
        temperature=tf.constant(settings["temperature"]), top_k=tf.constant(settings.get("top_k", 0)),
        top_p=tf.constant(settings.get("top_p", 1.0)), seed=tf.constant(seeds, tf.int64))["text"].numpy()])
try:
    import tfcharlm
except ImportError:
    print(json.dumps(texts))
"""


def run(*command, **arguments):
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=True, **arguments).stdout


def test_plain_tensorflow_generates_the_same_text(model, directory, tmp_path):
    seeds = list(range(7, 7 + len(PROMPTS)))
    calls = [(name, PROMPTS, seeds, settings) for name in ("generate", "serving_default") for settings in SETTINGS]
    output = run(sys.executable, "-c", BARE, directory, input=json.dumps(calls), cwd=tmp_path)
    expected = [model.generate(PROMPTS, max_length=40, seed=7, **settings) for settings in SETTINGS]
    assert json.loads(output) == expected * 2


def test_saved_model_cli_generates_the_same_text(model, directory, tmp_path):
    inputs = {
        "prompts": np.array([p.encode() for p in PROMPTS], object).astype(bytes),
        "max_length": np.int32(40), "temperature": np.float32(0.7), "top_k": np.int32(4), "top_p": np.float32(1.0),
        "seed": np.arange(7, 7 + len(PROMPTS)),
    }  # fmt: skip
    np.savez(tmp_path / "inputs.npz", **inputs)
    named = ";".join(f"{name}={tmp_path / 'inputs.npz'}[{name}]" for name in inputs)
    tool = [Path(sys.executable).parent / "saved_model_cli", "run", "--dir", directory]
    run(*tool, "--tag_set", "serve", "--signature_def", "generate", "--inputs", named, "--outdir", tmp_path)
    texts = [text.decode() for text in np.load(tmp_path / "text.npy", allow_pickle=True)]
    assert texts == model.generate(PROMPTS, max_length=40, temperature=0.7, top_k=4, seed=7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_length": tf.constant(-1)}, "max_length"),
        ({"temperature": tf.constant(-0.5)}, "temperature"),
        ({"temperature": tf.constant(np.nan, tf.float32)}, "temperature"),
        ({"temperature": tf.constant(np.inf, tf.float32)}, "temperature"),
        ({"top_k": tf.constant(-2)}, "top_k"),
        ({"top_p": tf.constant(0.0)}, "top_p"),
        ({"top_p": tf.constant(1.5)}, "top_p"),
        ({"seed": tf.constant([1, 2], tf.int64)}, "seed"),
        ({"prompts": tf.constant(["xyz"])}, "prompts"),
        ({"prompts": tf.constant([b"\xff"])}, "prompts"),
    ],
)
def test_the_graph_names_the_argument_out_of_bounds(directory, change, message):
    arguments = {
        "prompts": tf.constant(["a"]), "max_length": tf.constant(4), "temperature": tf.constant(1.0),
        "top_k": tf.constant(0), "top_p": tf.constant(1.0), "seed": tf.constant([7], tf.int64),
    }  # fmt: skip
    generate = tf.saved_model.load(str(directory)).signatures["generate"]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        generate(**arguments | change)


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
        ({"top_p": 1e-50}, "top_p must be above 0"),
        ({"top_k": 1.5}, "top_k must be a whole number from 0"),
        ({"top_p": 0.0}, "top_p must be above 0"),
        ({"seed": 2**64}, "seed must be an integer of 64 bits"),
        ({"seed": [1, 2]}, "seed must be an integer of 64 bits, or a list of 1"),
    ],
)
def test_python_names_the_argument_out_of_bounds(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.generate(**{"prompts": "a", "max_length": 3} | arguments)


def test_an_empty_prompt_needs_a_line_to_start():
    model = tfcharlm.CharLM(Vocabulary("abc"), [tfcharlm.RNNCell(2)])
    with pytest.raises(ValueError, match="an empty prompt is the start of a line, but this model knows no newline"):
        model.generate("")


def test_export_is_complete_or_absent(model, directory, monkeypatch, tmp_path):
    with pytest.raises(FileExistsError, match=r"exists already; choose another version, such as .*2\."):
        model.export(directory)

    def fail(*arguments, **named):
        raise OSError("No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        model.export(tmp_path / "model" / "1")
    assert list(tmp_path.iterdir()) == []


def test_load_model_gives_the_model_back(model, directory):
    again = tfcharlm.load_model(directory.parent)
    for weight, expected in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert again.generate(PROMPTS, max_length=30, seed=3) == model.generate(PROMPTS, max_length=30, seed=3)


DAMAGE = ["no such", "empty", "no json", "other format", "no weights", "wrong weights", "short weights"]
DAMAGE += ["vocabulary", "pattern"]


@pytest.mark.parametrize("damage", DAMAGE)
def test_load_model_says_what_is_wrong(directory, tmp_path, damage):
    path = tmp_path / "model"
    config = json.loads((directory / "assets.extra" / "config.json").read_text())
    if damage != "no such":
        path.mkdir()
    if damage not in ("no such", "empty"):
        (path / "assets.extra").mkdir()
        if damage == "other format":
            config["format"] = 99
        if damage == "vocabulary":
            config["model"]["vocabulary"]["tokens"][2] = "z"
        if damage == "wrong weights":
            config["model"]["embedding_dim"] = 4
        content = "{" if damage == "no json" else json.dumps(config)
        (path / "assets.extra" / "config.json").write_text(content)
        if damage != "no weights":
            shutil.copytree(directory / "variables", path / "variables")
        if damage == "short weights":
            with next((path / "variables").glob("*.data-*")).open("r+b") as file:
                file.truncate(700)
    if damage == "pattern":
        path = path.rename(tmp_path / "a[b]")
    with pytest.raises(ValueError) as caught:
        tfcharlm.load_model(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
