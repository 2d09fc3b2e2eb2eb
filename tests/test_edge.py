"""LiteRT and ONNX: against `model.step`, against NumPy, and the examples where TensorFlow cannot be imported."""

import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcharlm
from tfcharlm import edge, reference
from tfcharlm.text import Vocabulary

REASON = 'type pip install "tfcharlm[edge]"'
interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason=REASON)
schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason=REASON)
onnx = pytest.importorskip("onnx", reason=REASON)
onnxruntime = pytest.importorskip("onnxruntime", reason=REASON)

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = {"tflite": "sample_litert.py", "onnx": "sample_onnx.py"}
EXPORTS = {"tflite": edge.export_litert, "onnx": edge.export_onnx}
formats = pytest.mark.parametrize("ending", EXPORTS)

VOCABULARY = Vocabulary("\n abcdefghé")
ROWS, LENGTH = 4, 20


@keras.saving.register_keras_serializable(package="test_edge")
class OtherCell(tfcharlm.RNNCell):
    pass


class InvertingCell(tfcharlm.RNNCell):
    def call(self, inputs, states, training=False):
        h, _ = super().call(inputs, states, training)
        return tf.linalg.diag_part(tf.linalg.inv(tf.linalg.diag(h + 2))), [h]


class BeginsWithOnes(tfcharlm.RNNCell):
    def get_initial_state(self, batch_size=None):
        return [tf.ones((batch_size, self.units))]


OURS = {
    "rnn": lambda **dtype: [tfcharlm.RNNCell(5, **dtype)],
    "lstm": lambda **dtype: [tfcharlm.LSTMCell(6, **dtype)],
    "stack": lambda **dtype: (
        [cell(n, **dtype) for cell, n in ((tfcharlm.LSTMCell, 6), (tfcharlm.RNNCell, 5))]
        + [tfcharlm.LSTMCell(7, **dtype)]
    ),
}
THEIRS = {
    "activations": lambda: [
        tfcharlm.LSTMCell(6, activation="softsign", recurrent_activation="hard_sigmoid", use_bias=False),
        tfcharlm.RNNCell(5, activation="relu", use_bias=False),
        tfcharlm.LSTMCell(7, activation="elu", recurrent_activation="sigmoid"),
        tfcharlm.RNNCell(3, activation="softplus"),
        tfcharlm.RNNCell(2, activation="linear"),
        tfcharlm.LSTMCell(4, activation="selu", recurrent_activation="exponential"),
    ],
    "keras": lambda: [
        keras.layers.SimpleRNNCell(5),
        keras.layers.StackedRNNCells([keras.layers.LSTMCell(6), keras.layers.GRUCell(7)]),
        keras.layers.GRUCell(4, reset_after=False),
        keras.layers.GRUCell(2, use_bias=False),
    ],
    "skipping": lambda: [tfcharlm.LSTMCell(6, cap_input_gate=True), tfcharlm.RNNCell(5)],
}


def make_model(cells, vocabulary=VOCABULARY, scale=0.6, **arguments):
    model = tfcharlm.CharLM(vocabulary, cells, embedding_dim=3, **arguments)
    rng = np.random.default_rng(11)
    model.set_weights([rng.normal(0, scale, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """`exported(kind, ending) -> (model, path)`, each made once."""
    directory = tmp_path_factory.mktemp("edge")

    @functools.cache
    def model(kind):
        return make_model((OURS | THEIRS)[kind](), skip_connections=kind == "skipping")

    @functools.cache
    def export(kind, ending):
        return model(kind), EXPORTS[ending](model(kind), directory / f"{kind}.{ending}")

    return export


def runtime(path):
    """The file as a function `(tokens (B,), states) -> (logits (B, V), states)`, through its runtime alone."""
    if path.suffix == ".tflite":
        run = interpreter.Interpreter(str(path)).get_signature_runner("step")
    else:
        session = onnxruntime.InferenceSession(str(path))
        names = [output.name for output in session.get_outputs()]

        def run(**inputs):
            return dict(zip(names, session.run(names, inputs), strict=True))

    def step(tokens, states):
        inputs = {f"state_{i}": np.float32(state) for i, state in enumerate(states)}
        results = run(tokens=np.int32(tokens)[:, None], **inputs)
        assert set(results) == {"logits", *(f"next_state_{i}" for i in range(len(states)))}
        return results["logits"][:, 0], [results[f"next_state_{i}"] for i in range(len(states))]

    return step


def walk(step, tokens, states):
    """Logits (B, T, V) and, for every state, its values (B, T, units) after every token."""
    steps = []
    for t in range(tokens.shape[1]):
        logits, states = step(tokens[:, t], states)
        steps.append((logits, *states))
    logits, *states = (np.stack(values, axis=1) for values in zip(*steps, strict=True))
    return logits, states


def reference_step(model):
    """The same function in NumPy, float64."""
    embedding, *recurrent, head_kernel, head_bias = (np.asarray(w, np.float64) for w in model.get_weights())
    kinds = {tfcharlm.RNNCell: (reference.RNNWeights, 1), tfcharlm.LSTMCell: (reference.LSTMWeights, 2)}
    kinds = [kinds[type(layer.cell)] for layer in model.recurrent]
    layers = tuple(kind(*recurrent[3 * i : 3 * i + 3]) for i, (kind, _) in enumerate(kinds))
    parameters = reference.Parameters(embedding, layers, head_kernel, head_bias)

    def step(tokens, states):
        rest = iter(states)
        nested = tuple(tuple(next(rest) for _ in range(count)) for _, count in kinds)
        logits, nested, _ = reference.step(parameters, tokens[:, None], nested)
        return logits[:, 0], [state for layer in nested for state in layer]

    return step


def draw_inputs(model, rng, rows=ROWS):
    tokens = rng.integers(0, len(model.vocabulary), (rows, LENGTH))
    return tokens, [rng.normal(0, 0.5, (rows, *state.shape[1:])) for state in model.initial_state(1)]


def assert_close(results, expected):
    for result, value in zip([results[0], *results[1]], [expected[0], *expected[1]], strict=True):
        assert np.isfinite(value).all()
        np.testing.assert_allclose(result, value, rtol=1e-5, atol=1e-5)


@formats
@pytest.mark.parametrize("kind", OURS)
def test_steps_are_those_of_the_reference_and_of_the_model(kind, ending, rng, exported):
    model, path = exported(kind, ending)
    tokens, states = draw_inputs(model, rng)
    results = walk(runtime(path), tokens, states)
    assert_close(results, walk(reference_step(model), tokens, states))
    logits, ends = model.step(tf.constant(tokens), [tf.constant(state, tf.float32) for state in states])
    assert_close((results[0], [state[:, -1] for state in results[1]]), (logits, ends))


@formats
@pytest.mark.parametrize(("kind", "length"), [("activations", 1), ("keras", LENGTH), ("skipping", LENGTH)])
def test_steps_with_other_activations_and_cells_are_those_of_the_model(kind, length, ending, rng, exported):
    """One step with activations that have no bound: over twenty they grow, and rounding with them."""
    model, path = exported(kind, ending)
    tokens, states = draw_inputs(model, rng, rows=7)
    tokens = tokens[:, :length]
    logits, after = walk(runtime(path), tokens, states)
    expected, ends = model.step(tf.constant(tokens), [tf.constant(state, tf.float32) for state in states])
    assert_close((logits, [state[:, -1] for state in after]), (expected, ends))


@formats
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
def test_other_dtypes_become_float32_with_the_weights_they_have(policy, ending, rng, tmp_path):
    model = make_model(OURS["lstm"](dtype=policy), dtype=policy)
    tokens, states = draw_inputs(model, rng)
    results = walk(runtime(EXPORTS[ending](model, tmp_path / f"model.{ending}")), tokens, states)
    expected = walk(reference_step(model), tokens, states)
    assert_close(results, expected)
    logits, _ = model.step(tf.constant(tokens), [tf.constant(state, tf.float32) for state in states])
    assert (np.abs(logits - expected[0]).max() > 1e-3) == ("bfloat16" in policy), "the model itself rounds"


@formats
def test_batches_of_any_size(ending, rng, exported):
    model, path = exported("stack", ending)
    step = runtime(path)
    for rows in (1, 3, 2):
        tokens, states = draw_inputs(model, rng, rows)
        assert_close(walk(step, tokens[:, :2], states), walk(reference_step(model), tokens[:, :2], states))


def operations(content):
    """The names of the operations of a LiteRT file, from its own table; those that are not built in with a star."""
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    model = schema.Model.GetRootAs(content, 0)
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    # Before there were more than 127 operations the code was a byte; the old field still holds the small ones.
    numbers = [max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) for code in codes]
    return {
        names[number]
        if code.CustomCode() is None and number != schema.BuiltinOperator.CUSTOM
        else f"*{code.CustomCode()}"
        for code, number in zip(codes, numbers, strict=True)
    }


@pytest.mark.parametrize("kind", [*OURS, *THEIRS])
def test_litert_files_have_built_in_operations_only_and_no_memory(kind, exported):
    found = operations(exported(kind, "tflite")[1].read_bytes())
    assert "GATHER" in found and not [name for name in found if name.startswith("*")]
    assert not found & {"CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "WHILE", "IF"}


def test_an_operation_that_is_not_built_in_is_seen():
    @tf.function(input_signature=[tf.TensorSpec([3, 3])])
    def function(x):
        return tf.linalg.inv(x)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    assert operations(converter.convert()) == {"*b'FlexMatrixInverse'"}


def test_onnx_files_need_the_standard_domain_of_an_old_operator_set(exported):
    model = onnx.load(exported("stack", "onnx")[1])
    onnx.checker.check_model(model, full_check=True)
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 17)] and model.ir_version == 8
    assert {node.domain for node in model.graph.node} == {""}
    shapes = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.output}
    assert shapes["logits"] == ["batch", 1, len(VOCABULARY)] and shapes["next_state_4"] == ["batch", 7]


VOCABULARIES = {
    "char": Vocabulary("\n abcdefghé𝄞"),
    "byte": Vocabulary.from_text("any", level="byte"),
    "word": Vocabulary.from_text("to be, or not to be:\nthat's the question. é\n", level="word"),
}
PROMPTS = {
    "char": ["ab", "", "h", "a bad cabé𝄞", "\nfad"],
    "byte": ["naïve 𝄞", "", "a"],
    "word": ["to be, to be", "", "that's the question.\n\n", " é"],
}


CELLS = {
    "char": lambda: [tfcharlm.LSTMCell(6), tfcharlm.RNNCell(5)],
    "byte": lambda: [tfcharlm.LSTMCell(6)],
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
        run(sys.executable, "-c", BARE, EXAMPLES / SCRIPTS[ending], input=json.dumps(calls), cwd=tmp_path)
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
    assert unknown == {"exit": "'x' is not in the model's vocabulary"}
    assert "this model knows no newline" in no_newline["exit"]
    assert below_zero == {"exit": 2}
    assert no_character == {"exit": r"'\udcff' is not in the model's vocabulary"}


@formats
def test_files_are_complete_or_absent_and_never_overwritten(ending, monkeypatch, tmp_path):
    model = make_model(OURS["rnn"]())
    path = tmp_path / "new" / f"model.{ending}"
    rename = Path.rename

    def fail(self, target):
        if Path(target) == path:
            raise OSError("No space left on device")
        return rename(self, target)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(Path, "rename", fail)
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
        ("onnx", [tfcharlm.LSTMCell(3), OtherCell(2)], "OtherCell has no ONNX form here; GRUCell, LSTMCell, RNNCell"),
        ("onnx", [tfcharlm.RNNCell(3, "gelu")], "activation gelu of RNNCell has no ONNX form here; tanh, sigmoid"),
        ("onnx", [tfcharlm.LSTMCell(3, recurrent_activation="relu6")], "recurrent_activation relu6 of LSTMCell"),
        ("onnx", [BeginsWithOnes(3)], "begin with states of zeros"),
        ("tflite", [BeginsWithOnes(3)], "begin with states of zeros"),
        (
            "tflite",
            [InvertingCell(3)],
            "LiteRT has no built-in operation for .*MatrixInverse, which a step of InvertingCell",
        ),
    ],
    ids=["cell", "activation", "recurrent activation", "initial state", "initial state", "operation"],
)
def test_what_cannot_be_written_is_named(ending, cells, message, tmp_path):
    model = make_model(cells)
    with pytest.raises(ValueError, match=message) as caught:
        EXPORTS[ending](model, tmp_path / "new" / f"model.{ending}")
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []


def test_litert_takes_cells_that_it_has_never_heard_of(rng, tmp_path):
    model = make_model([OtherCell(5)])
    tokens, states = draw_inputs(model, rng)
    logits, _ = walk(runtime(edge.export_litert(model, tmp_path / "m.tflite")), tokens, states)
    expected, _ = model.step(tf.constant(tokens), [tf.constant(state, tf.float32) for state in states])
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


@formats
def test_another_ending_is_refused(ending, tmp_path):
    with pytest.raises(ValueError, match=rf"must end in \.{ending}, such as .*model\.{ending}; received .*model\.$"):
        EXPORTS[ending](None, tmp_path / "model")


def test_missing_package_says_what_to_type(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'onnx; type pip install "tfcharlm\[edge\]"$'):
        edge.export_onnx(make_model(OURS["rnn"]()), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
