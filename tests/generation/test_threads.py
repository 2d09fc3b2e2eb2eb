"""Many threads with one model: one of them compiles, no lock is held while a text is made, and none is left locked."""

import collections
import concurrent.futures
import copy
import gc
import pickle
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.letters import make_few_letters_model

import tfcharlm
from tfcharlm.generation import TextGraph
from tfcharlm.generation.compiled_once import CompiledOnce
from tfcharlm.generation.loop import TokenLoop
from tfcharlm.generation.scorer import Scorer
from tfcharlm.text import Vocabulary

PATIENCE = 120


def step(model):
    return model.text_graph().step(tf.constant([[1]]), *model.initial_state(1))["logits"].numpy().tolist()


CALLS = {
    "generate": lambda model: model.generate("ab", max_length=20, seed=1),
    "stream": lambda model: "".join(model.stream("ab", max_length=20, seed=1)),
    "score": lambda model: model.score("ab")["log_probability"],
    "token_log_probabilities": lambda model: model.token_log_probabilities("ab").tolist(),
    "next_token_probabilities": lambda model: model.next_token_probabilities("ab"),
    "beam_search": lambda model: model.beam_search("ab", max_length=2),
    "step": lambda model: (
        model.text_graph().step(tf.constant([[1]]), *model.initial_state(1))["logits"].numpy().tolist()
    ),
    "warm_up": lambda model: (model.warm_up(9), model.generate(["ab"] * 9, max_length=20, seed=1)),
    "signature generate": lambda model: (
        model.text_graph().generate(["ab", "b"], 5, [1, 2], 0.7, 0, 1.0)["text"].numpy().tolist()
    ),
    "signature score": lambda model: model.text_graph().score(["ab", "b"])["log_probability"].numpy().tolist(),
}
SIGNATURES = {"step", "signature generate", "signature score"}


def in_thread(function):
    """What a thread of its own gets; a test that waits for it in vain fails."""
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        return executor.submit(function).result(timeout=PATIENCE)


def counted(monkeypatch, *methods):
    """Counts the calls of methods `(class, name)`. Those of a graph run in Python once for every trace."""
    counts = collections.Counter()

    def count(owner, name):
        method = getattr(owner, name)

        def counting(self, *arguments, **named):
            counts[name] += 1
            return method(self, *arguments, **named)

        monkeypatch.setattr(owner, name, counting)

    for owner, name in methods:
        count(owner, name)
    return counts


@pytest.mark.slow
@pytest.mark.parametrize("by_xla", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_one_of_many_threads_compiles(monkeypatch, by_xla):
    monkeypatch.setattr(tfcharlm.CharLM, "supports_xla", by_xla)
    score = (TokenLoop, "_score_tile") if by_xla else (Scorer, "_sequence_block")
    counts = counted(
        monkeypatch,
        *((TextGraph, name) for name in ("__init__", "_advance", "_checked_step", "_generate", "_score")),
        *((TextGraph, name) for name in ("_continue", "_prefill", "_decode")),
        (TokenLoop, "_tile"),
        score,
    )
    model, start = make_few_letters_model(), threading.Barrier(2 * len(CALLS))

    def call(name):
        start.wait(PATIENCE)
        return CALLS[name](model)

    with concurrent.futures.ThreadPoolExecutor(2 * len(CALLS)) as executor:
        results = list(executor.map(call, [*CALLS, *CALLS]))
    once = dict.fromkeys(("__init__", "_advance", "_checked_step", "_generate", "_score", "_tile", score[1]), 1)
    # `generate` is one function, and its signature another. Both contain what `stream` has in two.
    contained = {"_continue": 2, "_prefill": 3, "_decode": 3}
    if not by_xla:
        contained[score[1]] = 2
    assert counts == once | contained
    assert results == [CALLS[name](model) for name in [*CALLS, *CALLS]]
    assert counts == once | contained


def test_only_the_smallest_call_is_made_under_the_lock():
    calls, running, may_end = [], threading.Event(), threading.Event()

    def record(x):
        calls.append(x.tolist())
        if x.any():
            running.set()
            assert may_end.wait(PATIENCE)
        return x

    function = CompiledOnce(
        lambda x: tf.ensure_shape(tf.numpy_function(record, [x], tf.float32), [None]),
        [tf.TensorSpec([None], tf.float32)],
    )
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        result = executor.submit(function, tf.constant([3.0, 5.0]))
        assert running.wait(PATIENCE)
        is_free = function._lock.acquire(blocking=False)
        may_end.set()
        assert is_free
        assert result.result(timeout=PATIENCE).numpy().tolist() == [3, 5]
    function(tf.constant([7.0]))
    # 9 rows are other tiles of the loop than 1 to 8.
    function(tf.ones(11))
    assert calls == [[0], [3, 5], [7], [0] * 9, [1] * 11]


def test_an_error_in_a_thread_leaves_nothing_locked():
    traces = []

    def double(x):
        traces.append(x)
        if len(traces) == 1:
            raise ValueError("not today")
        return 2 * x

    function = CompiledOnce(double, [tf.TensorSpec([None], tf.float32)])
    with pytest.raises(ValueError, match="not today"):
        in_thread(lambda: function(tf.constant([3.0])))
    assert in_thread(lambda: function(tf.constant([3.0]))).numpy() == 6
    assert len(traces) == 2


def test_an_argument_that_does_not_fit_leaves_nothing_locked():
    """TensorFlow's own function would wait for ever for the thread that made the mistake."""
    model = make_few_letters_model()
    graph = model.text_graph()
    wrong = tf.zeros((1, 1)), *model.initial_state(1)
    with pytest.raises((TypeError, ValueError)):
        in_thread(lambda: graph.step(*wrong))
    results = []
    thread = threading.Thread(target=lambda: results.append(CALLS["step"](model)), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert len(results) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"), [("generate", (["ab"], 5, [3], 1.0, 0, 1.0)), ("score", (["ab"],)), ("step", None)]
)
def test_a_graph_that_nobody_keeps_stays_until_its_function_has_ended(name, arguments):
    """A function of TensorFlow that is made in a class does not keep its instance."""
    model = make_few_letters_model()
    if arguments is None:
        arguments = tf.constant([[1]]), *model.initial_state(1)
    function = getattr(TextGraph(model), name)
    gc.collect()
    expected = getattr(model.text_graph(), name)(*arguments)
    tf.nest.map_structure(np.testing.assert_array_equal, function(*arguments), expected)


@pytest.fixture(scope="module")
def small_model():
    """A model whose loops are traced but not compiled by XLA, which takes a second less for each."""
    keras.utils.set_random_seed(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfcharlm.CharLM, "compiles_generation", False)
        yield tfcharlm.CharLM(Vocabulary("ab\n"), [tfcharlm.RNNCell(3)])


@pytest.mark.parametrize("name", [name for name in CALLS if name not in SIGNATURES])
def test_text_is_not_made_inside_a_tf_function(small_model, name):
    """The graph of the model, made there, would hold tensors that nobody can use later."""

    @tf.function(autograph=False)
    def traced():
        CALLS[name](small_model)
        return tf.constant(0)

    with pytest.raises(RuntimeError, match=r"outside of a tf\.function"):
        traced()
    assert len(small_model.generate("ab", max_length=3, seed=1)) == 5


def test_a_step_inside_a_tf_function_is_the_step_outside(small_model):
    def step(tokens):
        return small_model.text_graph().step(tokens, *small_model.initial_state(1))["logits"]

    expected, _ = small_model.step(tf.constant([[1, 0]]), small_model.initial_state(1))
    for function in (tf.function(step, autograph=False), step):
        np.testing.assert_allclose(function(tf.constant([[1, 0]])), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make_copy", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_a_model_in_use_writes_the_same(small_model, make_copy):
    expected = small_model.generate("ab", max_length=30, seed=3)
    assert make_copy(small_model).generate("ab", max_length=30, seed=3) == expected


def test_no_length_and_no_number_of_rows_is_traced_again(small_model):
    for rows, length in ((1, 1), (3, 7), (9, 2), (33, 20), (2, 600)):
        small_model.generate(["ab" * length] * rows, max_length=length, seed=1)
        small_model.generate(["ab" * length] * rows, max_length=length, seed=1, stop="bbbbb")
        small_model.score(["ab" * length] * rows)
        small_model.token_log_probabilities("ab" * length)
        small_model.next_token_probabilities("ab" * length)
        small_model.beam_search("ab", max_length=length % 9, beams=rows)
    graph = small_model._text_graph_in_python()
    functions = ("continuation", "prefill", "decode", "score_ids", "token_scores", "advance")
    assert {name: getattr(graph, name).number_of_traces for name in functions} == dict.fromkeys(functions, 1)
