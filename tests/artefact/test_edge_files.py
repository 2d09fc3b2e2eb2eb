"""LiteRT and ONNX exports as files: the vocabulary beside the model, the examples, and what cannot be written."""

import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from helpers.edge_formats import EXPORTS, OURS, KerasCell, OtherCell, formats, make_model

import tfcharlm
from tfcharlm.artefact import export_onnx
from tfcharlm.text import Vocabulary

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = {"tflite": "sample_litert.py", "onnx": "sample_onnx.py"}


class BeginsWithOnes(tfcharlm.RNNCell):
    def get_initial_state(self, batch_size=None):
        return [tf.ones((batch_size, self.units))]


VOCABULARIES = {
    "char": Vocabulary("\n abcdefghé𝄞"),
    "byte": Vocabulary.from_text("any", level="byte"),
    "spelled": Vocabulary.from_text("\n abcdefgh\u00e9", min_count=1),
    "word": Vocabulary.from_text("to be, or not to be:\nthat's the question. é\n", level="word"),
}
PROMPTS = {
    "char": ["ab", "", "h", "a bad cabé𝄞", "\nfad"],
    "byte": ["naïve 𝄞", "", "a"],
    "spelled": ["ab", "", "\u20acz", "\U0001d11e"],
    "word": ["to be, to be", "", "that's the question.\n\n", " é"],
}


CELLS = {
    "char": lambda: [tfcharlm.LSTMCell(6), tfcharlm.RNNCell(5)],
    "byte": lambda: [tfcharlm.LSTMCell(6)],
    "spelled": lambda: [tfcharlm.GRUCell(7)],
    "word": lambda: [tfcharlm.RNNCell(5)],
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """`written(level, ending) -> (model, path)`, with weights large enough that a text depends on its past."""
    directory = tmp_path_factory.mktemp("written")
    model = functools.cache(lambda level: make_model(CELLS[level](), VOCABULARIES[level], scale=1))
    return functools.cache(
        lambda level, ending: (model(level), EXPORTS[ending](model(level), directory / f"{level}.{ending}"))
    )


@formats
@pytest.mark.parametrize("level", VOCABULARIES)
def test_the_json_file_is_the_vocabulary_and_cuts_texts_as_it_does(level, ending, written):
    vocabulary, (model, path) = VOCABULARIES[level], written(level, ending)
    about = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
    assert Vocabulary.from_config({key: about[key] for key in ("level", "tokens")}) == vocabulary
    for i, (state, value) in enumerate(zip(about["states"], model.initial_state(1), strict=True)):
        assert state == {"input": f"state_{i}", "output": f"next_state_{i}", "shape": [None, value.shape[1]]}
    assert about["start"] == [vocabulary.tokens.index("\n")]
    assert about["format"] == 1 and about["tfcharlm"] == tfcharlm.__version__
    for text in PROMPTS[level]:
        cut = re.findall(about["pattern"], text.encode().decode("latin-1") if level == "byte" else text)
        if vocabulary.spelling is None:
            assert [about["tokens"].index(piece) for piece in cut] == vocabulary.encode(text).tolist()


BARE = """
import contextlib, io, json, runpy, sys
for name in ("tensorflow", "keras", "tfcharlm"):
    sys.modules[name] = None                  # importing it raises ImportError
example, results = sys.argv[1], []
for arguments in json.load(sys.stdin):
    sys.argv, output = [example, *arguments], io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            runpy.run_path(example, run_name="__main__")
        results.append(output.getvalue())
    except SystemExit as stop:
        results.append({"exit": stop.code})
print(json.dumps(results))
"""


def run_example(ending, calls, tmp_path):
    return json.loads(
        run(
            sys.executable, "-W", "error", "-c", BARE, EXAMPLES / SCRIPTS[ending], input=json.dumps(calls), cwd=tmp_path
        )
    )


def run(*command, **arguments):
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True, **arguments).stdout


@pytest.fixture(scope="module")
def greedy_texts(written):
    """What `generate` makes of the prompts of each level."""
    return {
        level: written(level, "onnx")[0].generate(prompts, max_length=40, temperature=0)
        for level, prompts in PROMPTS.items()
    }


@formats
def test_examples_write_what_generate_writes_without_tensorflow(ending, written, greedy_texts, tmp_path):
    calls, expected = [], []
    for level, texts in greedy_texts.items():
        _, path = written(level, ending)
        calls += [[str(path), "--prompt", prompt, "--length", "40", "--temperature", "0"] for prompt in PROMPTS[level]]
        expected += [text + "\n" for text in texts]
    assert run_example(ending, calls, tmp_path) == expected
    assert run(sys.executable, EXAMPLES / SCRIPTS[ending], *calls[0]) == expected[0]


@formats
def test_examples_draw_with_a_seed_and_explain_what_they_cannot_read(ending, written, tmp_path):
    _, path = written("char", ending)
    no_line = EXPORTS[ending](make_model([tfcharlm.RNNCell(2)], Vocabulary("ab")), tmp_path / f"ab.{ending}")
    settings = [("1", "7"), ("1", "7"), ("1", "8"), ("0.0001", "7"), ("0", "7")]
    calls = [[path, "--prompt", "ab", "--length", "60", "--temperature", t, "--seed", s] for t, s in settings]
    calls += [[path, "--prompt", "abxc"], [no_line], [path, "--temperature", "-1"], [path, "--prompt", "c\udcff"]]
    results = run_example(ending, [list(map(str, call)) for call in calls], tmp_path)
    first, again, other, cold, greedy, unknown, no_newline, below_zero, no_character = results
    assert first == again != other and cold == greedy != first
    assert len(first) == 63 and set(first) <= set(VOCABULARIES["char"].tokens)
    assert unknown == {"exit": "'x' is not in the model's vocabulary."}
    assert "this model has no newline in its vocabulary" in no_newline["exit"]
    assert below_zero == {"exit": 2}
    assert no_character == {"exit": r"'c\udcff' is not text in UTF-8."}


@formats
def test_files_are_complete_or_absent_and_never_overwritten(ending, monkeypatch, tmp_path):
    model = make_model(OURS["rnn"]())
    path = tmp_path / "new" / f"model.{ending}"
    replace = Path.replace

    def fail(self, target):
        if Path(target) == path:
            raise OSError("No space left on device")
        return replace(self, target)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(Path, "replace", fail)
        EXPORTS[ending](model, path)
    assert list(path.parent.iterdir()) == []

    EXPORTS[ending](model, path)
    files = {file: file.read_bytes() for file in path.parent.iterdir()}
    assert {file.name for file in files} == {f"model.{ending}", f"model.{ending}.json"}
    with pytest.raises(FileExistsError, match=rf"model\.{ending} exists already; remove it or choose another name"):
        EXPORTS[ending](model, path)
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == files
    path.unlink()
    with pytest.raises(FileExistsError, match=rf"model\.{ending}\.json exists already"):
        EXPORTS[ending](model, path)
    assert [file.name for file in path.parent.iterdir()] == [f"model.{ending}.json"]


@pytest.mark.parametrize(
    ("ending", "cells", "message"),
    [
        (
            "onnx",
            [tfcharlm.LSTMCell(3), KerasCell(2)],
            "for this format must be .* one of keras.layers: GRUCell, LSTMCell, SimpleRNNCell; received KerasCell",
        ),
        (
            "onnx",
            [OtherCell(2)],
            "OtherCell for this format must compute in step only; received one with a call of its own",
        ),
        (
            "onnx",
            [tfcharlm.LSTMCell(3, recurrent_activation="sparsemax")],
            "LSTMCell.step has the operation .*, which has no form in ONNX here. Use Abs, Add",
        ),
        ("onnx", [BeginsWithOnes(3)], "must start with zero states"),
        ("tflite", [BeginsWithOnes(3)], "must start with zero states"),
    ],
    ids=["cell", "call", "activation", "initial state", "initial state"],
)
def test_what_cannot_be_written_is_named(ending, cells, message, tmp_path):
    model = make_model(cells)
    with pytest.raises(ValueError, match=message) as caught:
        EXPORTS[ending](model, tmp_path / "new" / f"model.{ending}")
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []


@formats
def test_another_ending_is_refused(ending, tmp_path):
    with pytest.raises(ValueError, match=rf"must end in \.{ending}, such as .*model\.{ending}; received .*model\.$"):
        EXPORTS[ending](None, tmp_path / "model")


def test_missing_package_says_what_to_type(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'onnx; type pip install "tfcharlm\[edge\]"$'):
        export_onnx(make_model(OURS["rnn"]()), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
