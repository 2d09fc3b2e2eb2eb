"""Generation without XLA, and with TensorFlow's debugger: the same texts, and the same exports."""

import re

import numpy as np
import pytest
import tensorflow as tf
from helpers.letters import (
    PROMPTS,
    SAMPLING,
    arguments_of_generate,
    check_generate_is_the_sampling_of_the_reference,
    make_letters_model,
)

import tfcharlm
from tfcharlm.generation import is_debugging


@pytest.fixture
def debugger():
    tf.debugging.enable_check_numerics()
    yield
    tf.debugging.disable_check_numerics()


def uses_xla(graph):
    """Whether any function that the graph of continuations calls is compiled by XLA."""
    graph_def = str(graph.continuation.get_concrete_function().graph.as_graph_def())
    return re.search(r'"_XlaMustCompile"\s*value \{\s*b: true', graph_def) is not None


@pytest.fixture(scope="module")
def without_xla():
    model = make_letters_model()
    model.compiles_generation = False
    return model


@pytest.mark.slow
def test_the_texts_are_those_of_the_reference(without_xla):
    for prompt in PROMPTS:
        check_generate_is_the_sampling_of_the_reference(without_xla, prompt, 0.8)


@pytest.mark.slow
@pytest.mark.parametrize("sampling", SAMPLING, ids=str)
def test_the_texts_are_those_with_xla(model, without_xla, sampling):
    expected = model.generate(PROMPTS, max_length=60, seed=5, **sampling)
    assert without_xla.generate(PROMPTS, max_length=60, seed=5, **sampling) == expected
    assert PROMPTS[0] + "".join(without_xla.stream(PROMPTS[0], 60, seed=5, **sampling)) == expected[0]


@pytest.mark.slow
def test_everything_else_is_the_same_too(model, without_xla):
    assert without_xla.score("ab") == pytest.approx(model.score("ab"), rel=1e-6)
    expected = model.token_log_probabilities("ab").tolist()
    assert without_xla.token_log_probabilities("ab").tolist() == pytest.approx(expected, rel=1e-6)
    assert without_xla.next_token_probabilities("ab") == pytest.approx(model.next_token_probabilities("ab"), rel=1e-5)
    found, expected = (m.beam_search("ab", max_length=4, beams=3) for m in (without_xla, model))
    assert [text for text, _ in found] == [text for text, _ in expected]


def test_compile_turns_it_off_and_on():
    model = make_letters_model()
    assert model.compiles_generation is True
    model.compile()
    assert model.compiles_generation is True
    model.compile(jit_compile=False)
    assert model.compiles_generation is False
    model.compile()
    assert model.compiles_generation is False
    model.compile(jit_compile="auto")
    assert model.compiles_generation is False
    model.compiles_generation = True
    assert model.compiles_generation is True
    with pytest.raises(ValueError, match=r"^compiles_generation must be True or False; received 'no'\.$"):
        model.compiles_generation = "no"


@pytest.mark.slow
def test_it_is_python_that_runs_without_xla_and_not_the_export():
    model = make_letters_model()
    model.compiles_generation = False
    assert model.generate("ab", max_length=3, seed=1).startswith("ab") and model._text_graph is None
    assert not uses_xla(model._text_graph_without_xla) and uses_xla(model.text_graph())


@pytest.mark.slow
def test_check_numerics_changes_no_text(model, debugger):
    tf.debugging.disable_check_numerics()
    expected = [model.generate(PROMPTS, 40, seed=5, **sampling) for sampling in SAMPLING]
    tf.debugging.enable_check_numerics()
    debugged = make_letters_model()
    found = [debugged.generate(PROMPTS, 40, seed=5, **sampling) for sampling in SAMPLING]
    assert is_debugging() and found == expected
    assert debugged.score("ab") == pytest.approx(model.score("ab"), rel=1e-6)
    assert debugged.beam_search("ab", 2, 2)[0][0] == model.beam_search("ab", 2, 2)[0][0]


@pytest.mark.slow
def test_check_numerics_names_a_weight_that_is_not_finite(debugger):
    model = make_letters_model()
    model.head.bias.assign(np.full(model.head.bias.shape, np.nan))
    with pytest.raises(tf.errors.InvalidArgumentError, match="NaN"):
        model.generate("ab", max_length=2)


@pytest.mark.slow
def test_an_export_does_not_contain_the_debugger(debugger, tmp_path):
    model = make_letters_model()
    expected = model.generate("ab", max_length=20, seed=5)
    directory = model.export(tmp_path / "letters" / "1")
    assert tfcharlm.inspect_model(directory).is_plain_export
    assert not re.search(b"CheckNumerics|DebugNumeric", (directory / "saved_model.pb").read_bytes())
    tf.debugging.disable_check_numerics()
    generate = tf.saved_model.load(str(directory)).signatures["generate"]
    assert generate(**arguments_of_generate(["ab"], 20, [5]))["text"].numpy()[0].decode() == expected
