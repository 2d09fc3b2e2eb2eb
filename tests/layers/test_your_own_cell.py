"""Cells of one's own: a kernel, a proof, an export. Those of `examples/cells` against NumPy and Keras's loop."""

import functools
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.cells import assert_close
from helpers.example_cells import EQUATIONS, EXAMPLES, FOLDER, INPUT, KernelAndLoop, make_cell

import tfcharlm
from tfcharlm.testing import check_cell

CELLS = {name: functools.partial(make_cell, name) for name in EXAMPLES} | {
    "gru": functools.partial(tfcharlm.GRUCell, 5),
    "gru, reset before": functools.partial(tfcharlm.GRUCell, 5, reset_after=False),
    "gru without bias": functools.partial(tfcharlm.GRUCell, 5, use_bias=False),
    "lstm with other activations": functools.partial(tfcharlm.LSTMCell, 5, "softsign", "hard_sigmoid"),
    "rnn with softplus": functools.partial(tfcharlm.RNNCell, 5, keras.activations.softplus),
}


def each(*quick):
    """A test for each cell; those that are not `quick` are slow. Most of the time goes into tracing graphs."""
    slow = {name: [pytest.mark.slow] * (name not in quick) for name in CELLS}
    return pytest.mark.parametrize("name", [pytest.param(name, marks=marks) for name, marks in slow.items()])


each_example = pytest.mark.parametrize("name", EXAMPLES)


@pytest.mark.parametrize("name", CELLS)
def test_no_product_is_transposed_alone(name):
    """XLA would make a product with transposed operands of it, up to thirty times as slow. A step may have its own."""
    cell = CELLS[name]()
    cell.build((None, INPUT))
    x, states = tf.zeros((2, INPUT)), cell.get_initial_state(2)
    graph = tf.function(lambda: cell(x, states)).get_concrete_function().graph
    for operation in graph.get_operations():
        if operation.type == "Transpose":
            product = operation.inputs[0].op
            assert product.type != "MatMul" or product.get_attr("transpose_a"), operation.name


@each("minimal_gated_unit", "projected_lstm")
@pytest.mark.parametrize(
    ("mask", "backwards", "count"),
    [
        ("holes", False, 8),
        pytest.param("holes", False, 200, marks=pytest.mark.slow),
        pytest.param("none", True, 20, marks=pytest.mark.slow),
        pytest.param("a row of nothing", True, 20, marks=pytest.mark.slow),
    ],
)
def test_kernel_and_loop_agree(rng, name, mask, backwards, count):
    pair = KernelAndLoop(CELLS[name], mask != "none", backwards)
    for _ in range(count):
        pair.check(rng, mask)


@each_example
def test_an_example_computes_its_equation(rng, name):
    layer = tfcharlm.RNN(make_cell(name, dtype="float64"), return_sequences=True, return_state=True, dtype="float64")
    layer.build((None, None, INPUT))
    layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
    x = rng.normal(size=(2, 4, INPUT))
    states = [rng.normal(size=(2, size)) for size in layer.cell.state_sizes]
    outputs, *final = layer(x, initial_state=[tf.constant(state) for state in states])
    for t in range(4):
        states = EQUATIONS[name](x[:, t], *states, *layer.get_weights())
        assert_close(outputs[:, t], states[0])
    assert_close(final, list(states))


@each_example
def test_an_example_is_short(name):
    code = (FOLDER / f"{name}.py").read_text()
    _, _, body = code.partition("@keras.saving")
    helper = code[code.index("import tfcharlm\n") : code.index("@keras.saving")].strip().splitlines()[1:]
    assert len(body.strip().splitlines()) + len(helper) <= 25


@each("peephole_lstm", "gru, reset before")
def test_check_cell_finds_nothing(name):
    report = check_cell(CELLS[name]())
    assert report.failed == []


@each("layer_norm_lstm", "projected_lstm", "gru")
def test_compute_dtypes(rng, name):
    """A bfloat16 policy rounds the operands of the products only."""
    x = tf.constant(rng.normal(size=(2, 6, INPUT)), tf.float32)
    wide = tfcharlm.RNN(CELLS[name](), return_sequences=True)
    wide.build((None, None, INPUT))
    narrow = tfcharlm.RNN(CELLS[name](dtype="mixed_bfloat16"), return_sequences=True, dtype="mixed_bfloat16")
    narrow.build((None, None, INPUT))
    narrow.set_weights(wide.get_weights())
    np.testing.assert_allclose(tf.cast(narrow(x), tf.float32), wide(x), atol=0.05)


def make_model(name):
    cell = CELLS[name]()
    return tfcharlm.CharLM(tfcharlm.text.Vocabulary("abcdé \n"), [cell, CELLS[name]()], embedding_dim=3)


@pytest.mark.slow
@each("gru")
def test_a_model_trains_writes_and_is_loaded_again(rng, name, tmp_path):
    keras.utils.set_random_seed(1)
    model = make_model(name)
    model.compile(keras.optimizers.Adam(0.01))
    stream = model.vocabulary.encode("abc dé\n" * 60)
    data = tfcharlm.text.stream_dataset(stream, batch_size=4, sequence_length=10)
    losses = model.fit(data, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    loaded = tfcharlm.load_model(model.export(tmp_path / "model" / "1"))
    assert type(loaded.recurrent[0].cell) is type(model.recurrent[0].cell)
    for ours, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert loaded.generate("abc", max_length=20, seed=3) == model.generate("abc", max_length=20, seed=3)
    inspection = tfcharlm.inspect_model(tmp_path / "model" / "1")
    assert inspection.is_plain_export, (inspection.differences, inspection.disallowed)


SCRIPT = """
import keras, sys, tfcharlm
sys.path.insert(0, {folder!r})
{how}
loaded = tfcharlm.load_model({directory!r}{more})
print(repr(loaded.generate("ab", max_length=10, seed=5)))
loaded.compile(keras.optimizers.Adam(0.01))
data = tfcharlm.text.stream_dataset(loaded.vocabulary.encode("abc " * 40), batch_size=2, sequence_length=8)
loaded.fit(data, verbose=0)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "more"),
    [
        pytest.param("import coupled_lstm", "", marks=pytest.mark.slow),
        pytest.param(
            "from coupled_lstm import CoupledLSTMCell as C",
            ", custom_objects={'CoupledLSTMCell': C}",
            marks=pytest.mark.slow,
        ),
        pytest.param("", "", id="without the class"),
    ],
)
def test_another_process_needs_the_class(name_of_cell, tmp_path, how, more):
    model = make_model(name_of_cell)
    directory = model.export(tmp_path / "1")
    script = SCRIPT.format(folder=str(FOLDER), how=how, directory=str(directory), more=more)
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False)
    if how:
        assert run.returncode == 0, run.stderr
        assert run.stdout.strip() == repr(model.generate("ab", max_length=10, seed=5))
    else:
        assert "pass custom_objects={'CoupledLSTMCell': CoupledLSTMCell}" in run.stderr.splitlines()[-1]


class Names(tfcharlm.RecurrentCell):
    @property
    def parameters(self):
        return {self.name_of_parameter: tfcharlm.Parameter((self.units,))}


@pytest.mark.parametrize("name", ["kernel", "units", "step", "name", "weights"])
def test_a_parameter_needs_a_name_of_its_own(name):
    cell = Names(3)
    cell.name_of_parameter = name
    with pytest.raises(ValueError, match=f"must have other names than .* received '{name}'"):
        cell.build((None, 2))


@pytest.mark.parametrize("kind", [tfcharlm.RNNCell, tfcharlm.LSTMCell, tfcharlm.GRUCell])
@pytest.mark.parametrize("activation", ["softmax", "sparsemax", lambda z: tf.nn.softmax(z)])
def test_an_activation_of_a_whole_row_does_not_run_on_columns(rng, kind, activation):
    layer, theirs = (
        wrapper(kind(5, activation), return_sequences=True) for wrapper in (tfcharlm.RNN, keras.layers.RNN)
    )
    assert "that work on each number alone" in layer.why_not_fused
    x = tf.constant(rng.normal(size=(3, 4, 2)), tf.float32)
    layer.build(x.shape)
    theirs.build(x.shape)
    theirs.set_weights(layer.get_weights())
    np.testing.assert_allclose(layer(x), theirs(x), rtol=1e-6)
    np.testing.assert_allclose(layer(x)[:1], layer(x[:1]), rtol=1e-5)


def test_a_step_on_columns_refuses_softmax():
    with pytest.raises(ValueError, match=r"must work on each number alone, .* received softmax"):
        tfcharlm.RNN(tfcharlm.GRUCell(3, "softmax", reset_after=False))(tf.ones((2, 3, 4)))


def test_a_subclass_that_normalizes_units_gets_columns_in_every_way(rng):
    class Normalized(tfcharlm.LSTMCell):
        def step(self, z, states, parameters):
            assert z[0].shape[0] == self.units
            return super().step([block - tf.reduce_mean(block, axis=0) for block in z], states, parameters)

    ours, theirs = (wrapper(Normalized(5), return_sequences=True) for wrapper in (tfcharlm.RNN, keras.layers.RNN))
    x = tf.constant(rng.normal(size=(3, 4, 2)), tf.float32)
    ours.build(x.shape)
    theirs.build(x.shape)
    theirs.set_weights(ours.get_weights())
    assert ours.why_not_fused is None
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-5, atol=1e-6)


def test_a_gru_that_resets_before_keeps_parameters_of_a_subclass(rng):
    class Scaled(tfcharlm.GRUCell):
        @property
        def parameters(self):
            return {"gain": tfcharlm.Parameter((self.units,), "ones")}

        def step(self, z, states, parameters):
            values = super().step(z, states, parameters)
            return values | {"h": parameters["gain"] * values["h"]}

    layer, plain = (tfcharlm.RNN(cell(5, reset_after=False)) for cell in (Scaled, tfcharlm.GRUCell))
    x = tf.constant(rng.normal(size=(3, 4, 2)), tf.float32)
    layer.build(x.shape)
    plain.build(x.shape)
    plain.set_weights(layer.get_weights()[:-1])
    np.testing.assert_allclose(layer(x), plain(x), rtol=1e-6)


def test_a_sparse_gradient_inside_a_step(rng):
    class Shuffled(tfcharlm.RecurrentCell):
        state_names = ["h", "c"]  # noqa: RUF012

        def step(self, z, states, parameters):
            c = tf.gather(states["c"], [2, 0, 1]) + z[0]
            return {"h": tf.tanh(c), "c": c}

    pair = KernelAndLoop(functools.partial(Shuffled, 3), True, False)
    pair.check(rng, "holes")


@pytest.fixture
def name_of_cell():
    return "coupled_lstm"


class Wrong(tfcharlm.RecurrentCell):
    state_names = ("h", "c")

    def step(self, z, states, parameters):
        return self.result(z, states)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (lambda z, states: {"h": z[0]}, "with the states ['h', 'c']; it returned ['h']"),
        (lambda z, states: (z[0], z[0]), "it returned tuple"),
        (lambda z, states: {"h": z[0], "c": z[0][:2]}, "must return c in the shape"),
    ],
)
def test_a_wrong_result_of_a_step_is_one_line(result, words):
    cell = Wrong(4)
    cell.result = result
    with pytest.raises(ValueError, match="step must return") as error:
        tfcharlm.RNN(cell)(tf.ones((2, 3, 5)))
    assert words in str(error.value)
