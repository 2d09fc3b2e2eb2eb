"""A fork before TensorFlow is used works like any process; after that it refuses in one line, where it would wait."""

import os

import pytest
from helpers.processes import run_python

PROGRAM = """
import os, sys, time
import numpy as np, tensorflow as tf, tfcharlm

def make():
    model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab\\n"), [tfcharlm.RNNCell(3)], embedding_dim=2)
    model.compile()
    return model

def in_fork(name, function):
    sys.stdout.flush()
    process = os.fork()
    if not process:
        try:
            print(name, "gave", function())
        except BaseException as error:
            print(name, type(error).__name__, str(error))
        sys.stdout.flush()
        os._exit(0)
    deadline = time.monotonic() + 60
    while not os.waitpid(process, os.WNOHANG)[0]:
        time.sleep(0.02)
        if time.monotonic() > deadline:
            os.kill(process, 9)
            print(name, "waited forever")
            os.waitpid(process, 0)
            return

windows = np.array([[0, 1], [1, 0]]), np.array([[1, 0], [0, 1]])
if sys.argv[1] == "unused":
    in_fork("score", lambda: make().score("ab")["tokens"])
    in_fork("fork of a fork", lambda: in_fork("score", lambda: make().score("ab")["tokens"]))
else:
    model = make()
    for name, function in {
        "generate": lambda: model.generate("a", max_length=1),
        "stream": lambda: model.stream("a"),
        "score": lambda: model.score("ab"),
        "beam_search": lambda: model.beam_search("a"),
        "token_log_probabilities": lambda: model.token_log_probabilities("ab"),
        "next_token_probabilities": lambda: model.next_token_probabilities("a"),
        "step": lambda: model.step(tf.constant([[0]]), model.initial_state(1)),
        "fit": lambda: model.fit(*windows, verbose=0),
        "evaluate": lambda: model.evaluate(*windows, verbose=0),
        "predict": lambda: model.predict(windows[0], verbose=0),
        "train_on_batch": lambda: model.train_on_batch(*windows),
        "CharLM": make,
        "load_model": lambda: tfcharlm.load_model("names"),
    }.items():
        in_fork(name, function)
    in_fork("vocabulary", lambda: model.vocabulary.encode("ab").tolist())
    print("the parent gave", model.score("ab")["tokens"])
"""
METHODS = [
    "generate", "stream", "score", "beam_search", "token_log_probabilities", "next_token_probabilities", "step", "fit",
    "evaluate", "predict", "train_on_batch", "CharLM", "load_model",
]  # fmt: skip

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.mark.slow
def test_a_fork_of_a_process_that_has_used_tensorflow_refuses():
    lines = run_python(PROGRAM, "used").splitlines()
    expected = "RuntimeError this process was forked after TensorFlow was used, and "
    assert [line.split(" RuntimeError")[0] for line in lines[: len(METHODS)]] == METHODS
    assert all(
        expected in line and "get_context('spawn')" in line and len(line) < 300 for line in lines[: len(METHODS)]
    )
    assert lines[len(METHODS) :] == ["vocabulary gave [0, 1]", "the parent gave 2"]


@pytest.mark.slow
def test_a_fork_of_a_process_that_has_only_imported_it_works():
    assert run_python(PROGRAM, "unused").splitlines() == ["score gave 2", "score gave 2", "fork of a fork gave None"]
