"""Exported models without this package: the same texts, other cells and dtypes, and what is compiled."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.letters import PROMPTS, SAMPLING, VOCABULARY, arguments_of_generate, random_text
from helpers.processes import run, run_python

import tfcharlm

PLAIN = """
import json, sys
sys.modules["tfcharlm"] = None            # importing it raises ImportError
import tensorflow as tf
signatures = tf.saved_model.load(sys.argv[1]).signatures
texts = []
for signature, prompts, seeds, length, sampling in json.load(sys.stdin):
    texts.append([text.decode() for text in signatures[signature](
        prompts=tf.constant(prompts, tf.string), max_length=tf.constant(length),
        temperature=tf.constant(sampling["temperature"]), top_k=tf.constant(sampling.get("top_k", 0)),
        top_p=tf.constant(sampling.get("top_p", 1.0)), seed=tf.constant(seeds, tf.int64))["text"].numpy()])
try:
    import tfcharlm
except ImportError:
    print(json.dumps(texts))
"""
LENGTH = 30


def from_plain_tensorflow(directory, tmp_path, calls):
    """The texts of calls (signature, prompts, seeds, length, sampling) in a process that cannot import tfcharlm."""
    return json.loads(run_python(PLAIN, directory, input=json.dumps(calls), cwd=tmp_path))


def from_saved_model_cli(directory, tmp_path, prompts, seeds, temperature=1.0, top_k=0, top_p=1.0):
    inputs = {
        "prompts": np.array([p.encode() for p in prompts], object).astype(bytes),
        "max_length": np.int32(LENGTH),
        "temperature": np.float32(temperature),
        "top_k": np.int32(top_k),
        "top_p": np.float32(top_p),
        "seed": np.array(seeds),
    }
    np.savez(tmp_path / "inputs.npz", **inputs)
    named = ";".join(f"{name}={tmp_path / 'inputs.npz'}[{name}]" for name in inputs)
    tool = [Path(sys.executable).parent / "saved_model_cli", "run", "--dir", directory]
    run(*tool, "--tag_set", "serve", "--signature_def", "generate", "--inputs", named, "--outdir", tmp_path)
    return [text.decode() for text in np.load(tmp_path / "text.npy", allow_pickle=True)]


@pytest.mark.slow
def test_saved_model_cli_generates_the_same_text(model, directory, tmp_path):
    prompts, seeds, sampling = PROMPTS * 2, list(range(7, 7 + 2 * len(PROMPTS))), {"temperature": 0.7, "top_k": 4}
    texts = from_saved_model_cli(directory, tmp_path, prompts, seeds, **sampling)
    assert texts == model.generate(prompts, max_length=LENGTH, seed=seeds, **sampling)


@pytest.mark.parametrize(
    ("number", "batches"),
    [
        pytest.param(12, [1, 9, 12], id="quick"),
        pytest.param(200, [1, 2, 3, 8, 9, 33, 64, 200], id="all", marks=pytest.mark.slow),
    ],
)
def test_the_same_seed_gives_the_same_text_everywhere(rng, model, directory, tmp_path, number, batches):
    """Each seed with a prompt of its own: Python, a process without this package, and saved_model_cli."""
    # There is every prompt four times, so that only seeds tell the texts apart.
    prompts = [random_text(rng, int(n)) for n in rng.integers(0, 20, number // 4)] * 4
    seeds = [int(seed) for seed in rng.integers(-(2**63), 2**63 - 1, number)]
    sampling = {"temperature": 0.9, "top_p": 0.95}
    expected = model.generate(prompts, max_length=LENGTH, seed=seeds, **sampling)
    assert len(set(expected)) == number
    order = rng.permutation(number)
    shuffled = [prompts[i] for i in order], [seeds[i] for i in order]
    texts = model.generate(shuffled[0], max_length=LENGTH, seed=shuffled[1], **sampling)
    assert texts == [expected[i] for i in order]
    calls, wanted = [], []
    for batch in batches:
        for i in range(0, number, batch):
            own = slice(i, i + batch)
            texts = model.generate(prompts[own], max_length=LENGTH, seed=seeds[own], **sampling)
            assert texts == expected[own], f"in batches of {batch}"
            calls.append(("generate", prompts[own], seeds[own], LENGTH, sampling))
            wanted.append(expected[own])
    # Every way to draw, and the signature that a server calls by default.
    few_seeds = list(range(7, 7 + len(PROMPTS)))
    for arguments in SAMPLING:
        calls += [(name, PROMPTS, few_seeds, 40, arguments) for name in ("generate", "serving_default")]
        wanted += [model.generate(PROMPTS, max_length=40, seed=7, **arguments)] * 2
    assert from_plain_tensorflow(directory, tmp_path, calls) == wanted
    if number > 12:
        assert from_saved_model_cli(directory, tmp_path, prompts, seeds, **sampling) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "make_cell",
    [
        pytest.param(lambda: keras.layers.LSTMCell(3, dropout=0.5), id="lstm"),
        pytest.param(lambda: keras.layers.GRUCell(3), id="gru", marks=pytest.mark.slow),
    ],
)
def test_models_of_keras_cells_are_exported(make_cell, tmp_path):
    model = tfcharlm.CharLM(VOCABULARY, [make_cell()])
    artefact = tf.saved_model.load(str(model.export(tmp_path / "1")))
    text = artefact.signatures["generate"](**arguments_of_generate(["a"], 9, [7]))["text"]
    assert text.numpy()[0].decode() == model.generate("a", max_length=9, seed=7)


CELLS = {
    "fused": lambda policy: tfcharlm.LSTMCell(4, dtype=policy),
    "not fused": lambda policy: tfcharlm.LSTMCell(4, activation="relu", dtype=policy),
    "of Keras": lambda policy: keras.layers.GRUCell(4, dtype=policy),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "policy"),
    [
        pytest.param(cell, policy, marks=[] if (cell, policy) == ("fused", "mixed_bfloat16") else pytest.mark.slow)
        for cell in CELLS
        for policy in ("mixed_bfloat16", "float64")
    ],
)
def test_models_of_other_dtypes_write_and_score(cell, policy, tmp_path):
    keras.utils.set_random_seed(6)
    model = tfcharlm.CharLM(VOCABULARY, [CELLS[cell](policy)], embedding_dim=3, dtype=policy)
    signatures = tf.saved_model.load(str(model.export(tmp_path / "1"))).signatures
    text = model.generate("ab", max_length=20, seed=1)
    written = signatures["generate"](**arguments_of_generate(["ab"], 20, [1]))
    assert written["text"].numpy()[0].decode() == text
    scores = signatures["score"](texts=tf.constant([text]))
    np.testing.assert_allclose(scores["log_probability"][0], model.score(text)["log_probability"], rtol=1e-3)


WARM = """
import os, sys
from helpers.letters import make_letters_model
count = lambda: len([name for name in os.listdir(sys.argv[1]) if "before_optimizations.txt" in name])
model = make_letters_model()
model.generate("ab", max_length=3, seed=1)
warm = count()
for length in (1, 5, 300, 700):
    model.generate("a" * length, max_length=length, seed=1)
again = count()
model.generate(["a"] * 9, max_length=3, seed=1)
print(warm, again, count())
"""


@pytest.mark.slow
def test_a_prompt_of_a_new_length_is_not_compiled_again(tmp_path):
    """XLA writes down every module that it compiles: none for a new length, one more for tiles of other rows."""
    output = run_python(WARM, tmp_path, variables={"XLA_FLAGS": f"--xla_dump_to={tmp_path}"})
    warm, again, other_tiles = map(int, output.split())
    assert 0 < warm == again < other_tiles
