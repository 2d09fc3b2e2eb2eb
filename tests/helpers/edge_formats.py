"""LiteRT and ONNX files: models to export, the runtimes as functions, and the same step in NumPy."""

import keras
import numpy as np
import pytest

import tfcharlm
from helpers.example_cells import EXAMPLES, make_cell
from tfcharlm import reference
from tfcharlm.artefact import export_litert, export_onnx
from tfcharlm.text import Vocabulary

REASON = 'type pip install "tfcharlm[edge]"'
interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason=REASON)
schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason=REASON)
onnx = pytest.importorskip("onnx", reason=REASON)
onnxruntime = pytest.importorskip("onnxruntime", reason=REASON)

EXPORTS = {"tflite": export_litert, "onnx": export_onnx}
formats = pytest.mark.parametrize("ending", EXPORTS)

VOCABULARY = Vocabulary("\n abcdefghé")
ROWS, LENGTH = 4, 20


@keras.saving.register_keras_serializable(package="edge_formats")
class OtherCell(tfcharlm.RNNCell):
    """A cell that is not one of the package, and has a step of its own way: only TensorFlow can run it."""

    def call(self, inputs, states, training=False):
        return super().call(inputs, states)


@keras.saving.register_keras_serializable(package="edge_formats")
class KerasCell(keras.layers.SimpleRNNCell):
    """A cell of Keras that is not Keras's own."""


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
    "gru": lambda: [
        tfcharlm.GRUCell(5),
        tfcharlm.GRUCell(4, reset_after=False),
        tfcharlm.GRUCell(3, use_bias=False),
        tfcharlm.GRUCell(2, "softsign", "hard_sigmoid"),
    ],
    "more activations": lambda: [
        tfcharlm.RNNCell(5, name) for name in ("gelu", "silu", "relu6", "hard_silu", "leaky_relu", "hard_tanh", "mish")
    ],
    "examples": lambda: [make_cell(name) for name in EXAMPLES],
    "ensemble": lambda: [tfcharlm.LSTMCell(6), tfcharlm.RNNCell(5)],
    "skipping": lambda: [tfcharlm.LSTMCell(6, cap_input_gate=True), tfcharlm.RNNCell(5)],
}


def make_model(cells, vocabulary=VOCABULARY, scale=0.6, **arguments):
    model = tfcharlm.CharLM(vocabulary, cells, embedding_dim=3, **arguments)
    rng = np.random.default_rng(11)
    model.set_weights([rng.normal(0, scale, w.shape) for w in model.get_weights()])
    return model


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
