"""The three signatures of an exported model, whatever comes in: text, or an error that names the argument."""

import re

import numpy as np
import pytest
import tensorflow as tf
from helpers.letters import VOCABULARY, arguments_of_generate, random_text

from tfcharlm.generation.limits import MAX_BYTES, MAX_ROWS, MAX_TOKENS


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
def test_the_graph_names_the_argument_out_of_bounds(signatures, change, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        signatures["generate"](**arguments_of_generate(["a"], 4, [7]) | change)


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
    "calls", [pytest.param(600, id="quick"), pytest.param(20_000, id="all", marks=pytest.mark.slow)]
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
