"""`inspect_model` and `tfcharlm inspect`: what a directory is, told without loading it."""

import os
import shutil
import tracemalloc

import pytest
import tensorflow as tf
from helpers.exported_directories import FIELD, GRAPH, changed, seal, sparse
from helpers.foreign_models import save_foreign_model

import tfcharlm
from tfcharlm import inspect_model


@pytest.fixture
def inspect(command):
    """`tfcharlm inspect PATH`: (exit status, standard output, standard error)."""
    return lambda path: command("inspect", path)


def test_inspect_says_what_a_model_is(exported, inspect, model):
    status, output, error = inspect(exported.parent)
    assert (status, error) == (0, "")
    for line in (
        f"{exported}: a model of tfcharlm {tfcharlm.__version__}",
        f"Vocabulary: {len(model.vocabulary)} tokens, level char, fingerprint {model.vocabulary.fingerprint}",
        "Other characters: spelled with the hexadecimal digits of their bytes in UTF-8",
        "  generate(max_length int32 (), prompts string (None,), seed int64 (None,), temperature float32 (), "
        "top_k int32 (), top_p float32 ()) -> text string (None,)",
        "Files: as an export writes them",
    ):
        assert line in output.splitlines()
    assert "all of them needed by a tfcharlm model" in output


def test_inspect_names_what_is_wrong_and_foreign(directory, inspect, graph):
    graph.meta_graphs[0].graph_def.library.function[3].node_def.add(name="x\x1b[31m", op="WriteFile")
    (directory / GRAPH).write_bytes(graph.SerializeToString(deterministic=True))
    where = graph.meta_graphs[0].graph_def.library.function[3].signature.name
    status, output, _ = inspect(directory)
    assert status == 1 and "'saved_model.pb' has" in output
    assert f"  WriteFile, x\\x1b[31m in function {where}\n" in output
    seal(directory)
    status, output, _ = inspect(directory)
    assert status == 1 and "Files: as an export writes them" in output and "WriteFile, " in output


def test_inspect_sees_another_graph_beside(directory, inspect):
    (directory / "saved_model.cpb").write_bytes(b"")
    seal(directory)
    status, output, _ = inspect(directory)
    assert status == 1 and "'saved_model.cpb' is not a file of an export" in output


def test_inspect_works_with_any_saved_model(tmp_path, inspect):
    status, output, _ = inspect(save_foreign_model(tmp_path))
    assert status == 1
    assert "a SavedModel, but not a readable tfcharlm model" in output
    assert "  serving_default(x float32 (None, 3)) -> output_0 float32 (None, 3)\n" in output


def signature(name):
    return lambda graph: graph.meta_graphs[0].signature_def[name]


SIGNATURES = {
    "no step": (lambda g: g.meta_graphs[0].signature_def.pop("step"), "it has no signature 'step'"),
    "no default": (
        lambda g: g.meta_graphs[0].signature_def.pop("serving_default"), "it has no signature 'serving_default'"),
    "one more": (
        lambda g: signature("more")(g).CopyFrom(signature("score")(g)), "its signature 'more' is not one of an export"),
    "no text": (lambda g: signature("generate")(g).outputs.pop("text"), "signature 'generate' must"),
    "an input more": (
        lambda g: signature("score")(g).inputs["x"].CopyFrom(signature("score")(g).inputs["texts"]),
        "signature 'score' must take texts string and give bits_per_character float64, log_probability float64, "
        "tokens int32; it takes texts string, x string and gives"),
    "another type": (lambda g: signature("step")(g).inputs["tokens"].__setattr__("dtype", 9), "takes state_0 float32"),
    "a type that is none": (
        lambda g: signature("step")(g).inputs["tokens"].__setattr__("dtype", 999), "tokens type 999"),
    "a state missing": (lambda g: signature("step")(g).inputs.pop("state_2"), "signature 'step' must take state_0"),
    "a state more": (
        lambda g: signature("step")(g).outputs["state_3"].CopyFrom(signature("step")(g).outputs["state_2"]),
        "signature 'step' must"),
    "another graph": (lambda g: g.meta_graphs.add().meta_info_def.tags.append("gpu"), "one graph with the tag 'serve'"),
    "another tag": (lambda g: g.meta_graphs[0].meta_info_def.tags.append("gpu"), "one graph with the tag 'serve'"),
}  # fmt: skip


@pytest.mark.parametrize("case", SIGNATURES)
def test_other_signatures_than_those_of_an_export_are_differences(directory, graph, case):
    spoil, message = SIGNATURES[case]
    spoil(graph)
    (directory / GRAPH).write_bytes(graph.SerializeToString(deterministic=True))
    seal(directory)
    differences = inspect_model(directory).differences
    assert differences and all(message in difference for difference in differences), differences


def test_inspect_says_that_the_weights_do_not_fit(directory, inspect):
    changed(*FIELD, "units", to=999)(directory)
    seal(directory)
    status, output, _ = inspect(directory)
    assert status == 1 and "must be float32 (3, 3996)" in output
    shutil.rmtree(directory / "variables")
    seal(directory)
    status, output, _ = inspect(directory)
    assert status == 1 and "it has no variables/variables.index" in output


BAD = {
    "absent": lambda path: None,
    "a file": lambda path: path.write_text("x"),
    "empty": lambda path: path.mkdir(),
    "no message": lambda path: (path.mkdir(), (path / GRAPH).write_bytes(b"\xff" * 99)),
    "no graph": lambda path: (path.mkdir(), (path / GRAPH).write_bytes(b"")),
    "a link": lambda path: (path.mkdir(), (path / GRAPH).symlink_to("/dev/zero")),
    "a FIFO": lambda path: (path.mkdir(), os.mkfifo(path / GRAPH)),
    "a folder": lambda path: (path / GRAPH).mkdir(parents=True),
    "too large": lambda path: (path.mkdir(), sparse(GRAPH, 2**29 + 1)(path)),
}


@pytest.mark.parametrize("case", BAD)
def test_inspect_refuses_in_one_line(tmp_path, inspect, case):
    BAD[case](tmp_path / "model")
    status, output, error = inspect(tmp_path / "model")
    assert (status, output) == (2, "")
    assert error.startswith("tfcharlm: ") and error.count("\n") == 1 and str(tmp_path) in error


def test_a_report_of_a_thousand_things_names_ten(directory, inspect, graph):
    functions = graph.meta_graphs[0].graph_def.library.function
    for i in range(1000):
        functions[i % len(functions)].node_def.add(name=f"{i}" * 1000, op="WriteFile")
    (directory / GRAPH).write_bytes(graph.SerializeToString(deterministic=True))
    seal(directory)
    status, output, _ = inspect(directory)
    assert status == 1 and output.count("  WriteFile, ") == 10 and "  and 990 more\n" in output
    assert "; 1,000 disallowed" in output
    assert max(map(len, output.splitlines())) <= 302


def test_a_message_of_many_parts_is_refused_before_they_are_made(directory, proto):
    """Two bytes make a node of a hundred: 6 MB would be 300 MB of nodes."""
    (directory / GRAPH).write_bytes(proto.SerializeToString(deterministic=True) + b"\x12\x04\x12\x02\x0a\x00" * 10**6)
    seal(directory)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"it has more than \d{3},\d{3} fields"):
        inspect_model(directory)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 * 2**20


@pytest.mark.parametrize("error", [MemoryError(), tf.errors.ResourceExhaustedError(None, None, "no memory " * 99)])
def test_a_model_that_needs_too_much_memory_is_refused_in_one_line(directory, monkeypatch, error):
    def fail(*arguments, **named):
        raise error

    monkeypatch.setattr(tfcharlm.CharLM, "from_parts", fail)
    for function in (tfcharlm.inspect_model, tfcharlm.load_model):
        with pytest.raises(ValueError, match=type(error).__name__ if not str(error) else "no memory") as caught:
            function(directory)
        assert len(str(caught.value)) <= 300


@pytest.mark.parametrize("function", [tfcharlm.inspect_model, tfcharlm.load_model])
def test_a_name_that_is_too_long_is_refused_in_one_line(function):
    with pytest.raises(ValueError, match="cannot be read: File name too long") as caught:
        function("x" * 400)
    assert len(str(caught.value)) <= 300


def test_a_small_graph_is_not_compared(directory, graph, monkeypatch):
    """The graph of 32 cells takes long to make, and an empty one costs a stranger nothing."""
    monkeypatch.setattr(tfcharlm.CharLM, "from_parts", pytest.fail)
    del graph.meta_graphs[0].graph_def.library.function[:]
    (directory / GRAPH).write_bytes(graph.SerializeToString(deterministic=True))
    seal(directory)
    assert "saved_model.pb is smaller than the graph" in tfcharlm.inspect_model(directory).differences[-1]
