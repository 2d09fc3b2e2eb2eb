"""Arguments, configuration and initial weights of the cells, which are those of Keras's; what is refused."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.cells import BATCH, CELLS, INPUT, KERAS_CELLS, NUM_STATES, UNITS, assert_close

import tfcharlm

kinds = pytest.mark.parametrize("kind", CELLS)

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
    ours, theirs = CELLS[kind](UNITS, **arguments), KERAS_CELLS[kind](UNITS, **arguments)
    config = ours.get_config()
    expected = {k: v for k, v in theirs.get_config().items() if k not in not_yet | {"name"}}
    assert {k: v for k, v in config.items() if k not in ("name", "cap_input_gate")} == expected
    again = CELLS[kind].from_config(config)
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
        [rng.normal(size=(BATCH, UNITS)) for _ in range(NUM_STATES[kind])],
    )
    np.testing.assert_allclose(again(x, states)[0], theirs(x, states)[0], rtol=1e-5, atol=1e-5)


@kinds
def test_arguments_are_in_the_order_of_the_keras_cell(kind):
    ours, theirs = (list(inspect.signature(cell).parameters) for cell in (CELLS[kind], KERAS_CELLS[kind]))
    # What Keras does not have, or has further behind, is given by name.
    ours = [name for name in ours if name not in ("cap_input_gate", "reset_after")]
    assert ours[-1] == "kwargs"
    assert ours[:-1] == theirs[: len(ours) - 1] and len(ours) > 7


@kinds
def test_initial_weights_follow_the_initializers(rng, kind):
    initializers = {
        "kernel_initializer": keras.initializers.GlorotUniform(seed=3),
        "recurrent_initializer": keras.initializers.Orthogonal(seed=5),
    }
    cells = [cell(UNITS, **initializers) for cell in (CELLS[kind], KERAS_CELLS[kind])]
    for cell in cells:
        cell.build((None, INPUT))
    assert_close(cells[0].get_weights(), cells[1].get_weights(), 0)
    bare = CELLS[kind](UNITS, use_bias=False)
    bare.build((None, INPUT))
    assert len(bare.weights) == 2
    assert all(np.all(state == 0) and state.shape == (4, UNITS) for state in bare.get_initial_state(batch_size=4))


@kinds
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_of_16_bits_are_those_of_float32_rounded(kind, dtype):
    """Keras's layers cannot have such weights: TensorFlow has no bfloat16 factorization for orthogonal matrices."""
    initializers = {
        name: keras.initializers.Orthogonal(seed=3) for name in ("kernel_initializer", "recurrent_initializer")
    }
    full, half = (CELLS[kind](UNITS, **initializers, dtype=name) for name in ("float32", dtype))
    for cell in (full, half):
        cell.build((None, INPUT))
    for rounded, exact in zip(half.weights, full.weights, strict=True):
        assert rounded.dtype == dtype
        np.testing.assert_array_equal(tf.cast(rounded, "float32"), tf.cast(tf.cast(exact, dtype), "float32"))


@kinds
def test_an_initializer_of_none_is_the_default_of_keras(kind):
    names = {"kernel_initializer": None, "recurrent_initializer": None, "bias_initializer": None}
    cell = CELLS[kind](UNITS, **names)
    cell.build((None, INPUT))
    assert {name: cell.get_config()[name] for name in names} == names
    # Uniform within sqrt(6 / (fan_in + fan_out)), which a vector has twice.
    for weight, fans in zip(
        cell.weights, (sum(cell.kernel.shape), sum(cell.recurrent_kernel.shape), None), strict=True
    ):
        drawn = weight.numpy() if fans else weight.numpy()[-UNITS:]
        assert 0 < np.abs(drawn).max() <= np.sqrt(6 / (fans or 2 * UNITS))


@kinds
@pytest.mark.parametrize("units", [np.int64(5), np.array(5), tf.constant(5), keras.Variable(5, dtype="int32")])
def test_units_of_any_integer_type_are_a_plain_integer(kind, units):
    cell = CELLS[kind](units)
    assert (cell.units, type(cell.units), cell.get_config()["units"]) == (5, int, 5)


@kinds
@pytest.mark.parametrize("units", [0, -3, 2.5, "many", True, None, np.array([3]), tf.constant(True), tf.constant(2.0)])
def test_units_that_are_no_size_are_refused(kind, units):
    with pytest.raises(ValueError, match=r"units must be a whole number from 1 up, such as .*Cell\(256\); received"):
        CELLS[kind](units)


def test_a_model_of_our_layers_survives_saving(rng, tmp_path):
    model = keras.Sequential([keras.Input((None, INPUT)), tfcharlm.RNN([tfcharlm.RNNCell(4), tfcharlm.LSTMCell(6)])])
    model.save(tmp_path / "model.keras")
    x = rng.normal(size=(BATCH, 5, INPUT))
    again = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(again.layers[0], tfcharlm.RNN)
    np.testing.assert_array_equal(again(x), model(x))


def test_our_wrapper_takes_the_arguments_of_the_stock_one():
    assert inspect.signature(tfcharlm.RNN) == inspect.signature(keras.layers.RNN)
