"""Native kernels against NumPy; when they run, and when not; what a saved graph has."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.native import RECURRENCES, Case, check_against_numpy, random_arguments, random_case

import tfcharlm
from tfcharlm import kernels
from tfcharlm.kernels import native, native_kernels, run_recurrence, why_not_native
from tfcharlm.kernels.native.library import load

needs_native = pytest.mark.skipif(why_not_native() is not None, reason=str(why_not_native()))


def operations_of(function):
    """The types of all operations in a concrete function."""
    definition = function.graph.as_graph_def()
    nodes = [*definition.node, *(node for f in definition.library.function for node in f.node_def)]
    return {node.op for node in nodes}


def has_native(function):
    return any(name.startswith("TfcharlmRecurrence") for name in operations_of(function))


@pytest.mark.parametrize("count", [60, pytest.param(600, marks=pytest.mark.slow)])
def test_random_sequences_are_those_of_numpy(rng, count):
    for _ in range(count):
        check_against_numpy(rng, random_case(rng))


@needs_native
@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86-64 has AVX2")
def test_avx2_is_what_numpy_computes():
    """Also on a processor that has AVX-512."""
    program = (
        "import numpy as np\nfrom helpers.native import *\nfrom tfcharlm.kernels import native\n"
        "rng = np.random.default_rng(5)\nfor _ in range(500):\n    check_against_numpy(rng, random_case(rng))\n"
        "print(native.library().vectors)"
    )
    path = os.pathsep.join(["tests", *sys.path])
    environment = os.environ | {"TFCHARLM_NATIVE": "AVX2", "PYTHONPATH": path}
    found = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == "AVX2\n"


@pytest.mark.parametrize("kind", RECURRENCES)
def test_what_is_not_finite_stays_where_it_is(rng, kind):
    """NaN and infinity in one row, or in a weight: they come out there, and in no other row."""
    case = Case(kind, batch=9, length=5, width=4, units=21, ids=False, mask="none", use_bias=True, save=True)
    weights, inputs, _, states, _, _ = random_arguments(rng, case)

    def outputs(weights, inputs):
        return run_recurrence(RECURRENCES[kind], tuple(map(tf.constant, weights)), tf.constant(inputs), states)[
            0
        ].numpy()

    expected = outputs(weights, inputs)
    spoiled = inputs.copy()
    spoiled[3, 2, 1] = np.nan
    found = outputs(weights, spoiled)
    assert np.isnan(found[3, 2:]).all()
    spoiled_rows = np.arange(9) == 3
    np.testing.assert_array_equal(found[~spoiled_rows], expected[~spoiled_rows])
    np.testing.assert_array_equal(found[3, :2], expected[3, :2])
    spoiled[3, 2, 1] = np.inf
    assert np.isfinite(outputs(weights, spoiled)).all(), "gates are full open or closed"
    weights[1][7, 5] = np.nan
    assert np.isnan(outputs(weights, inputs)[:, -1]).any(axis=-1).all()


@needs_native
def test_wrong_shapes_are_an_error_of_one_line(rng):
    run = native.library().operations.tfcharlm_recurrence
    right = {
        "kernel": tf.zeros((3, 8)),
        "recurrent_kernel": tf.zeros((2, 8)),
        "bias": tf.zeros((8,)),
        "inputs": tf.zeros((4, 5, 3)),
        "is_real": tf.zeros((0, 0), tf.bool),
        "initial_states": [tf.zeros((4, 2))] * 2,
        "cell": 1,
        "save_for_backward": False,
    }
    assert run(**right)[0].shape == (4, 5, 2)
    wrong = {
        "kernel": [tf.zeros((3, 7)), tf.zeros((8,)), tf.zeros((2, 8))],
        "recurrent_kernel": [tf.zeros((2, 7)), tf.zeros((2, 2, 8)), tf.zeros((8, 2))],
        "bias": [tf.zeros((7,)), tf.zeros((8, 1)), tf.zeros((3, 0))],
        "inputs": [tf.zeros((4, 5)), tf.zeros((4, 5, 2)), tf.zeros((3, 5, 3)), tf.constant([[3] * 5] * 4)],
        "is_real": [tf.ones((4, 4), tf.bool), tf.ones((4,), tf.bool), tf.ones((4, 0), tf.bool)],
        "initial_states": [[tf.zeros((4, 2)), tf.zeros((4, 3))], [tf.zeros((4, 2))], [tf.zeros((4, 2, 1))] * 2],
        "cell": [-1, 4],
    }
    for name, values in wrong.items():
        for value in values:
            with pytest.raises((tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError)):
                run(**right | {name: value})
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"the kernel must have the shape \(-1, 8\), .*\(3, 7\)"):
        run(**right | {"kernel": tf.zeros((3, 7))})
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"from 0 to 2; received 3 in row 0, step 0"):
        run(**right | {"inputs": tf.constant([[3] * 5] * 4)})


def make_layer(cell=tfcharlm.LSTMCell, **arguments):
    layer = tfcharlm.RNN(cell(5, **arguments), return_sequences=True, **arguments)
    layer.build((None, None, 3))
    return layer


def traced(layer, **arguments):
    function = tf.function(lambda x: layer(x, training=True), autograph=False, **arguments)
    return function.get_concrete_function(tf.TensorSpec((None, None, 3), layer.compute_dtype))


@needs_native
def test_when_native_kernels_run(monkeypatch):
    layer = make_layer()
    assert layer.fallback_reason is None and has_native(traced(layer))
    with native_kernels(False):
        assert layer.fallback_reason == "native kernels are off: native_kernels(False)"
        assert not has_native(traced(layer))
        with native_kernels(True):
            assert has_native(traced(layer))
    assert not has_native(traced(layer, jit_compile=True)), "XLA has no native operations"
    double = make_layer(dtype="float64")
    assert "float32, and the layer in float64" in double.fallback_reason and not has_native(traced(double))
    relu = tfcharlm.RNN(tfcharlm.RNNCell(5, "relu"))
    assert relu.why_not_fused is None
    assert relu.fallback_reason == f"native kernels are not used: {relu.cell.name} has none"
    monkeypatch.setenv("TFCHARLM_NATIVE", "0")
    assert layer.fallback_reason == "native kernels are off: TFCHARLM_NATIVE=0" and not has_native(traced(layer))


@needs_native
def test_a_graph_inside_one_for_xla_has_no_native_operation(rng):
    layer = make_layer()
    inner = tf.function(layer, autograph=False)
    x = tf.constant(rng.normal(size=(3, 4, 3)), tf.float32)
    compiled = tf.function(lambda x: inner(x), autograph=False, jit_compile=True)
    np.testing.assert_allclose(compiled(x), layer(x), rtol=1e-5, atol=1e-6)


@needs_native
def test_what_was_traced_before_keeps_its_kernels(rng, tmp_path):
    """TensorFlow takes graphs that it has; `native_kernels` says what to do."""
    layer = make_layer()
    x = tf.constant(rng.normal(size=(3, 4, 3)), tf.float32)
    signature = [tf.TensorSpec((None, None, 3))]
    for on in (True, False):
        inner = tf.function(layer, autograph=False, input_signature=signature)
        module = tf.Module()
        module.layer = layer
        with native_kernels(on):
            concrete = inner.get_concrete_function()
        tf.saved_model.save(module, str(tmp_path / str(on)), signatures=concrete)
        assert (b"TfcharlmRecurrence" in (tmp_path / str(on) / "saved_model.pb").read_bytes()) == on
        compiled = tf.function(lambda x, inner=inner: inner(x), autograph=False, jit_compile=True)
        if on:
            with pytest.raises(tf.errors.InvalidArgumentError, match="TfcharlmRecurrence"):
                compiled(x)
        else:
            np.testing.assert_allclose(compiled(x), layer(x), rtol=1e-5, atol=1e-6)


@needs_native
def test_graphs_for_other_programs_have_no_native_operation(rng, tmp_path):
    model = keras.Sequential([keras.Input((None, 3)), make_layer()])
    x = tf.constant(rng.normal(size=(2, 4, 3)), tf.float32)
    expected = model(x)
    model.export(tmp_path / "exported", verbose=False)
    tf.saved_model.save(model, str(tmp_path / "saved"))
    module = tf.Module()
    module.model = model
    tf.saved_model.save(
        module,
        str(tmp_path / "own"),
        signatures=tf.function(model, autograph=False, input_signature=[tf.TensorSpec((None, None, 3))]),
    )
    for name in ("exported", "saved", "own"):
        assert b"TfcharlmRecurrence" not in (tmp_path / name / "saved_model.pb").read_bytes(), name
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_allclose(loaded.serve(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cell", [tfcharlm.LSTMCell, tfcharlm.GRUCell])
def test_gradients_of_gradients_are_those_of_the_pure_kernels(rng, cell):
    layer = make_layer(cell)
    x = tf.constant(rng.normal(size=(4, 6, 3)), tf.float32)
    weights = [weight.value for weight in layer.trainable_variables]

    def results():
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                total = tf.reduce_sum(tf.sin(layer(x, training=True)))
            penalty = sum(tf.reduce_sum(g**2) for g in inner.gradient(total, [x, *weights]))
        return outer.gradient(penalty, [x, *weights])

    found = results()
    with native_kernels(False):
        expected = results()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


@pytest.mark.slow
@needs_native
def test_calls_leave_no_memory_behind(rng):
    """Kept blocks are used again; a first thousand calls fill what is kept."""
    layer, x = make_layer(), tf.constant(rng.normal(size=(16, 20, 3)), tf.float32)

    @tf.function(autograph=False)
    def step(x):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(layer(x, training=True))
        return tape.gradient(total, layer.trainable_variables)

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    for _ in range(1000):
        step(x)
    before = resident()
    for _ in range(9000):
        step(x)
    assert resident() - before < 4e6


def test_show_config_says_which_kernels_run(capsys):
    tfcharlm.show_config()
    shown = capsys.readouterr().out
    assert f"Kernels: {'native' if why_not_native() is None else 'those of TensorFlow'}" in shown
    with native_kernels(False):
        tfcharlm.show_config()
    assert "Kernels: those of TensorFlow; native kernels are off: native_kernels(False)" in capsys.readouterr().out


def test_the_command_shows_the_configuration(command):
    status, out, err = command("--show-config")
    assert status == 0 and not err and out.startswith("tfcharlm ") and out.count("\n") == 4


def test_ids_that_are_too_large_for_32_bits_are_refused():
    weights, states = (tf.zeros((3, 8)), tf.zeros((2, 8)), None), (tf.zeros((1, 2)), tf.zeros((1, 2)))
    for on in (True, False):
        with native_kernels(on):
            for ids in ([0, 2**32], [0, -(2**32)], [0, 3], [-1, 0]):
                with pytest.raises(tf.errors.InvalidArgumentError):
                    run_recurrence(kernels.LSTM, weights, tf.constant([ids], tf.int64), states)
            outputs, _ = run_recurrence(kernels.LSTM, weights, tf.constant([[0, 2]], tf.int64), states)
            assert outputs.shape == (1, 2, 2)


def test_ids_that_are_not_integers_are_one_line():
    weights, states = (tf.zeros((3, 8)), tf.zeros((2, 8)), None), (tf.zeros((4, 2)), tf.zeros((4, 2)))
    for on in (True, False):
        with native_kernels(on):
            for dtype in (tf.float32, tf.uint64, tf.bool):
                with pytest.raises(ValueError, match=f"are ids: int32 or int64. Received {dtype.name}"):
                    run_recurrence(kernels.LSTM, weights, tf.cast(tf.ones((4, 7)), dtype), states)


@needs_native
def test_a_size_that_no_memory_has_is_one_line():
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"output 0 would have the shape \(1, \d+, 2\), more numbers"
    ):
        native.library().operations.tfcharlm_recurrence(
            kernel=tf.zeros((0, 2)), recurrent_kernel=tf.zeros((2, 2)), bias=tf.zeros((0,)),
            inputs=tf.zeros((1, 2**61, 0)), is_real=tf.zeros((0, 0), tf.bool), initial_states=[tf.zeros((1, 2))],
            cell=0, save_for_backward=False,
        )  # fmt: skip


@needs_native
def test_forks_do_not_wait_for_kept_memory(rng):
    """A child frees what it inherited, whichever moment of a call it was forked at."""
    layer, x = make_layer(), tf.constant(rng.normal(size=(16, 200, 3)), tf.float32)
    outputs = layer(x)
    child = os.fork()
    if child == 0:
        del outputs
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_a_library_that_is_absent_or_cannot_be_loaded_is_one_line(tmp_path):
    assert "no C compiler or it failed" in load(tmp_path).problem
    (tmp_path / "recurrence.abi3.so").write_bytes(b"no library")
    with pytest.warns(UserWarning, match=r"Native kernels are not used: recurrence.abi3.so cannot be loaded") as caught:
        loaded = load(tmp_path)
    assert loaded.operations is None and loaded.problem and "\n" not in str(caught[0].message)
