"""The cells against NumPy and against Keras's own, in every mode of the wrapper."""

import inspect
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcharlm
from tfcharlm import reference
from tfcharlm.kernels import lstm_step, precision

BATCH, TIME, INPUT, UNITS = 3, 5, 2, 7
MASK = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 1, 0], [0, 0, 1, 0, 0]], bool)
OURS = {"rnn": tfcharlm.RNNCell, "lstm": tfcharlm.LSTMCell}
THEIRS = {"rnn": keras.layers.SimpleRNNCell, "lstm": keras.layers.LSTMCell}
WEIGHTS = {"rnn": reference.RNNWeights, "lstm": reference.LSTMWeights}
FORWARD = {"rnn": reference.rnn_forward, "lstm": reference.lstm_forward}
BACKWARD = {"rnn": reference.rnn_backward, "lstm": reference.lstm_backward}
WRAPPERS = {"stock": keras.layers.RNN, "ours": tfcharlm.RNN}

kinds = pytest.mark.parametrize("kind", OURS)
wrappers = pytest.mark.parametrize("wrapper", WRAPPERS)


def random_weights(rng, kind, dtype=np.float64):
    columns = UNITS * (4 if kind == "lstm" else 1)
    shapes = [(INPUT, columns), (UNITS, columns), (columns,)]
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def with_weights(layer, arrays, input_dim=INPUT):
    layer.build((None, None, input_dim))
    layer.set_weights(arrays)
    return layer


def gradients(layer, x, upstream, **arguments):
    """Outputs, and the gradients of sum(outputs * upstream) with respect to the weights and the input."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x, **arguments)
        total = tf.reduce_sum(outputs * upstream)
    return outputs.numpy(), [g.numpy() for g in tape.gradient(total, [*layer.trainable_variables, x])]


def assert_close(actual, expected, tolerance):
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance * max(1.0, np.abs(e).max()))


@kinds
@wrappers
@pytest.mark.parametrize("mask", [None, MASK], ids=["full", "masked"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_cell_agrees_with_numpy(rng, kind, wrapper, mask, dtype, tolerance):
    arrays, x = random_weights(rng, kind, dtype), rng.normal(size=(BATCH, TIME, INPUT)).astype(dtype)
    upstream = rng.normal(size=(BATCH, TIME, UNITS)).astype(dtype)
    layer = WRAPPERS[wrapper](OURS[kind](UNITS, dtype=dtype), return_sequences=True, dtype=dtype)
    outputs, grads = gradients(with_weights(layer, arrays), x, upstream, mask=mask)
    weights = WEIGHTS[kind](*(a.astype(np.float64) for a in arrays))
    expected, _, cache = FORWARD[kind](weights, x.astype(np.float64), mask=mask)
    weight_gradients, d_x, _ = BACKWARD[kind](weights, cache, upstream.astype(np.float64))
    assert_close([outputs, *grads], [expected, *weight_gradients, d_x], tolerance)


@kinds
@wrappers
@pytest.mark.parametrize("mask", [None, MASK], ids=["full", "masked"])
def test_same_weights_as_the_keras_layer_give_the_same_results(rng, kind, wrapper, mask):
    theirs = {"rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM}[kind](UNITS, return_sequences=True)
    with_weights(theirs, random_weights(rng, kind, np.float32))
    ours = with_weights(WRAPPERS[wrapper](OURS[kind](UNITS), return_sequences=True), theirs.get_weights())
    x = rng.normal(size=(BATCH, TIME, INPUT)).astype(np.float32)
    upstream = rng.normal(size=(BATCH, TIME, UNITS)).astype(np.float32)
    expected, expected_gradients = gradients(theirs, x, upstream, mask=mask)
    outputs, grads = gradients(ours, x, upstream, mask=mask)
    assert_close([outputs, *grads], [expected, *expected_gradients], 1e-5)


MODES = {
    "last output": {},
    "sequences and states": {"return_sequences": True, "return_state": True},
    "backwards": {"go_backwards": True, "return_sequences": True},
    "unrolled": {"unroll": True, "return_sequences": True},
    "zeros for masked": {"return_sequences": True, "zero_output_for_mask": True},
    "stateful": {"stateful": True, "return_state": True},
}


@kinds
@wrappers
@pytest.mark.parametrize("masked", [False, True], ids=["full", "masked"])
@pytest.mark.parametrize("time", [TIME, 1], ids=["sequence", "single step"])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_does_what_the_keras_cell_does_in_the_stock_wrapper(rng, kind, wrapper, masked, time, mode):
    arrays = random_weights(rng, kind, np.float32)
    x = rng.normal(size=(BATCH, time, INPUT)).astype(np.float32)
    states = [rng.normal(size=(BATCH, UNITS)).astype(np.float32) for _ in range(2 if kind == "lstm" else 1)]
    arguments = {"mask": MASK[:, 1 : time + 1] if time == 1 else MASK} if masked else {}
    if mode != "stateful":
        arguments["initial_state"] = states
    results = []
    for layer_class, cell in ((keras.layers.RNN, THEIRS[kind]), (WRAPPERS[wrapper], OURS[kind])):
        layer = layer_class(cell(UNITS), **MODES[mode])
        layer.build((BATCH, time, INPUT))
        layer.cell.set_weights(arrays)
        first, second = layer(x, **arguments), layer(x[::-1], **arguments)
        results.append(keras.tree.flatten([first, second]))
    assert_close(results[1], results[0], 1e-5)


@wrappers
def test_bidirectional_and_stacked(rng, wrapper):
    x = rng.normal(size=(BATCH, TIME, INPUT)).astype(np.float32)
    x[~MASK] = 0

    def build(layer_class, cells):
        stack = layer_class([cells["rnn"](4), cells["lstm"](6)], return_sequences=True)
        both = keras.layers.Bidirectional(layer_class(cells["lstm"](UNITS), return_sequences=True))
        return keras.Sequential([keras.Input((TIME, INPUT)), keras.layers.Masking(), stack, both])

    theirs, ours = build(keras.layers.RNN, THEIRS), build(WRAPPERS[wrapper], OURS)
    theirs.set_weights([rng.normal(size=w.shape) for w in theirs.get_weights()])
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    again = keras.Sequential.from_config(ours.get_config())
    again.set_weights(ours.get_weights())
    np.testing.assert_array_equal(again(x), ours(x))


@kinds
@wrappers
def test_bfloat16_policies_work_and_keep_float32_weights(rng, kind, wrapper):
    arrays = random_weights(rng, kind, np.float32)
    x = rng.normal(size=(BATCH, TIME, INPUT)).astype(np.float32)
    exact = with_weights(tfcharlm.RNN(OURS[kind](UNITS)), arrays)(x)
    layer = WRAPPERS[wrapper](OURS[kind](UNITS, dtype="mixed_bfloat16"), return_state=True, dtype="mixed_bfloat16")
    rough, *states = with_weights(layer, arrays)(x)
    assert all(t.dtype == tf.bfloat16 for t in (rough, *states))
    assert all(w.dtype == "float32" for w in layer.weights)
    np.testing.assert_allclose(tf.cast(rough, tf.float32), exact, atol=0.1)


def test_what_follows_a_bfloat16_product_is_float32(rng, monkeypatch):
    """One product that bfloat16 has exactly, so that only what follows it could lose digits."""
    monkeypatch.setattr(precision, "_processor_has_bfloat16", lambda: True)
    z, c = rng.integers(-8, 9, size=(BATCH, 4 * UNITS)) / 4, rng.normal(size=(BATCH, UNITS))
    x = tf.constant(np.eye(BATCH), tf.bfloat16)
    weights = (tf.constant(z, tf.bfloat16), tf.zeros((UNITS, 4 * UNITS), tf.bfloat16), None)
    h, c_next = lstm_step(weights, x, tf.zeros((BATCH, UNITS)), tf.constant(c, tf.float32))
    numpy = reference.LSTMWeights(z, np.zeros((UNITS, 4 * UNITS)), np.zeros(4 * UNITS))
    expected = reference.lstm_step(numpy, np.eye(BATCH), np.zeros((BATCH, UNITS)), c)
    assert_close([h, c_next], expected, 1e-6)


@kinds
def test_masked_nan_reaches_nothing_in_our_wrapper(rng, kind):
    arrays, x = random_weights(rng, kind), rng.normal(size=(BATCH, TIME, INPUT))
    upstream = rng.normal(size=(BATCH, TIME, UNITS))
    layer = with_weights(
        tfcharlm.RNN(OURS[kind](UNITS, dtype="float64"), return_sequences=True, dtype="float64"), arrays
    )
    clean = gradients(layer, x, upstream, mask=MASK)
    poisoned = gradients(layer, np.where(MASK[..., None], x, np.nan), upstream, mask=MASK)
    assert_close([poisoned[0], *poisoned[1]], [clean[0], *clean[1]], 0)


UNUSUAL = {
    "activation": "relu",
    "use_bias": True,
    "kernel_initializer": "he_normal",
    "recurrent_initializer": "glorot_normal",
    "bias_initializer": "ones",
    "kernel_regularizer": keras.regularizers.L2(0.01),
    "recurrent_regularizer": keras.regularizers.L1(0.02),
    "bias_regularizer": keras.regularizers.L1L2(0.03, 0.04),
    "kernel_constraint": keras.constraints.MaxNorm(0.5),
    "recurrent_constraint": keras.constraints.NonNeg(),
    "bias_constraint": keras.constraints.UnitNorm(),
}


@kinds
def test_arguments_are_those_of_the_keras_cell(rng, kind):
    arguments = UNUSUAL | (
        {"recurrent_activation": "hard_sigmoid", "unit_forget_bias": False} if kind == "lstm" else {}
    )
    not_yet = {"dropout", "recurrent_dropout", "seed", "implementation"}
    ours, theirs = OURS[kind](UNITS, **arguments), THEIRS[kind](UNITS, **arguments)
    config = ours.get_config()
    expected = {k: v for k, v in theirs.get_config().items() if k not in not_yet | {"name"}}
    assert {k: v for k, v in config.items() if k not in ("name", "cap_input_gate")} == expected
    again = OURS[kind].from_config(config)
    assert again.get_config() == config
    for cell in (ours, theirs, again):
        cell.build((None, INPUT))
    for w_ours, w_theirs, w_again in zip(ours.weights, theirs.weights, again.weights, strict=True):
        assert w_ours.name == w_theirs.name
        w_theirs.assign(rng.normal(size=w_theirs.shape))
        w_ours.assign(w_theirs)
        w_again.assign(w_theirs)
        np.testing.assert_array_equal(w_ours.constraint(w_ours.value), w_theirs.constraint(w_theirs.value))
    np.testing.assert_allclose(sum(again.losses), sum(theirs.losses), rtol=1e-6)
    x, states = (
        rng.normal(size=(BATCH, INPUT)),
        [rng.normal(size=(BATCH, UNITS)) for _ in range(2 if kind == "lstm" else 1)],
    )
    np.testing.assert_allclose(again(x, states)[0], theirs(x, states)[0], rtol=1e-5, atol=1e-5)


@kinds
def test_arguments_stand_in_the_order_of_the_keras_cell(kind):
    ours, theirs = (list(inspect.signature(cell).parameters) for cell in (OURS[kind], THEIRS[kind]))
    # What Keras does not have is given by name.
    ours = [name for name in ours if name != "cap_input_gate"]
    assert ours[-1] == "kwargs"
    assert ours[:-1] == theirs[: len(ours) - 1] and len(ours) > 7


@kinds
def test_initial_weights_follow_the_initializers(rng, kind):
    initializers = {
        "kernel_initializer": keras.initializers.GlorotUniform(seed=3),
        "recurrent_initializer": keras.initializers.Orthogonal(seed=5),
    }
    cells = [cell(UNITS, **initializers) for cell in (OURS[kind], THEIRS[kind])]
    for cell in cells:
        cell.build((None, INPUT))
    assert_close(cells[0].get_weights(), cells[1].get_weights(), 0)
    bare = OURS[kind](UNITS, use_bias=False)
    bare.build((None, INPUT))
    assert len(bare.weights) == 2
    assert all(np.all(state == 0) and state.shape == (4, UNITS) for state in bare.get_initial_state(batch_size=4))


@kinds
@pytest.mark.parametrize("units", [0, -3, 2.5, "many", True, None])
def test_units_that_are_no_size_are_refused(kind, units):
    with pytest.raises(ValueError, match=r"units must be a positive integer, such as .*Cell\(256\); received"):
        OURS[kind](units)


def test_a_model_of_our_layers_survives_saving(rng, tmp_path):
    model = keras.Sequential([keras.Input((None, INPUT)), tfcharlm.RNN([tfcharlm.RNNCell(4), tfcharlm.LSTMCell(6)])])
    model.save(tmp_path / "model.keras")
    x = rng.normal(size=(BATCH, TIME, INPUT))
    again = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(again.layers[0], tfcharlm.RNN)
    np.testing.assert_array_equal(again(x), model(x))


def test_our_wrapper_takes_the_arguments_of_the_stock_one():
    assert inspect.signature(tfcharlm.RNN) == inspect.signature(keras.layers.RNN)


def test_another_backend_is_refused_at_the_door():
    """Other backends are not installed here: Keras is made to say that it runs on one."""
    program = "import keras; keras.config.backend = lambda: 'jax'; import tfcharlm"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "ImportError: tfcharlm runs on Keras's TensorFlow backend; received 'jax'. Type export" in result.stderr
