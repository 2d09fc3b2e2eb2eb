"""All that `keras.layers.RNN` and its cells can be asked: the same numbers as Keras's own layer, or one line of error.

A row of a table is a function of a layer or of a module of cells, called once with ours and once with Keras's, whose
results must agree; a pair of a call and the line that refuses it; or the name of the tests that are elsewhere. A test
fails when Keras gains an argument, a method or an attribute that has no row.
"""

import inspect
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.cells import BATCH, CELLS, INPUT, KERAS_CELLS, MASK, TIME, UNITS, assert_close, random_arrays

import tfcharlm

X = np.random.default_rng(0).normal(size=(BATCH, TIME, INPUT)).astype(np.float32)
STATES = [np.random.default_rng(n).normal(size=(BATCH, UNITS)).astype(np.float32) for n in (1, 2)]
WEIGHTS = random_arrays(np.random.default_rng(3), "lstm", dtype=np.float32)
MODES = "tests/layers/test_cells.py: every_mode_does_what_the_keras_cell_does_in_the_stock_wrapper"
ARGUMENTS = "tests/layers/test_arguments.py: arguments_are_those_of_the_keras_cell"
INITIAL = "tests/layers/test_arguments.py: initial_weights_follow_the_initializers"
OURS, THEIRS = (tfcharlm.RNN, CELLS), (keras.layers.RNN, KERAS_CELLS)


def make(layer_class, cells, cell_options=None, **options):
    """A built layer of an LSTM cell with the same weights for ours and Keras's."""
    layer = layer_class(cells["lstm"](UNITS, **(cell_options or {})), **options)
    layer.build((BATCH, TIME, INPUT))
    layer.set_weights([w.astype(layer.cell.variable_dtype) for w in WEIGHTS])
    return layer


def made(function, **options):
    """A row: the results of a function of layers that are made with some options."""
    return lambda *kind: function(make(*kind, **options))


def refused(message, function, **options):
    """A row: what a function of our layer raises."""
    return message, lambda: function(make(*OURS, **options))


def penalties(layer):
    layer(X)
    return [np.asarray(value) for value in layer.losses]


def assigned(name, value):
    """A row: results before and after an attribute is set."""
    return made(lambda layer: (layer(X, mask=MASK), setattr(layer, name, value), layer(X, mask=MASK))[::2])


def frozen(part):
    """A row: what a training step changes in a model of which a part is frozen."""

    def function(layer):
        part(layer).trainable = False
        model = keras.Sequential([keras.Input((TIME, INPUT)), layer, keras.layers.Dense(1, kernel_initializer="ones")])
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(model(X) ** 2)
        gradients = tape.gradient(total, [variable.value for variable in model.trainable_variables])
        keras.optimizers.SGD(0.1).apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return len(layer.trainable_variables), layer.get_weights(), model(X)

    return made(function)


def without_masking(layer):
    layer.supports_masking = False
    with pytest.warns(UserWarning, match="does not support masking"):
        return layer(X, mask=MASK)


def in_dtypes(layer, cell):
    """A row: results in the dtype of the layer. A bfloat16 has two digits, and Keras's loop rounds at every step."""

    def function(layer_class, cells):
        made = make(layer_class, cells, {"dtype": cell}, dtype=layer, return_state=True)
        results = made(X)
        assert {result.dtype.name for result in results} == {made.compute_dtype}
        return [np.asarray(tf.cast(result, tf.float64)) for result in results]

    function.tolerance = 0.05 if "16" in layer + cell else 2e-5
    return function


def stateful(layer):
    first, second = layer(X), layer(X)
    layer.reset_state()
    third = layer(X)
    layer.reset_states()
    return first, second, third, layer(X), [np.asarray(state) for state in layer.states]


def stateless(layer):
    outputs, _ = layer.stateless_call([2 * v for v in layer.trainable_variables], layer.non_trainable_variables, X)
    return outputs


def rematerialized(layer_class, cells):
    with keras.RematScope(mode="full"):
        layer = make(layer_class, cells)
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(layer(X) ** 2)
        return total, tape.gradient(total, [weight.value for weight in layer.weights])


def stored(layer):
    store = {}
    layer.save_own_variables(store)
    layer.cell.save_own_variables(store)
    layer.set_weights([0 * weight for weight in layer.get_weights()])
    layer.cell.load_own_variables(store)
    return layer(X)


def rebuilt(layer):
    twin = type(layer).from_config(layer.get_config())
    twin.build_from_config(layer.get_build_config())
    twin.set_weights(layer.get_weights())
    return twin(X), twin.count_params()


def spec_of(layer):
    return [s.shape for s in layer.compute_output_spec(keras.KerasTensor((None, TIME, INPUT)))]


def symbolic(layer):
    return keras.Model(inputs := keras.Input((TIME, INPUT)), layer(inputs))(X)


def run_loop(layer):
    return layer.inner_loop(tf.constant(X), [tf.constant(state) for state in STATES], mask=None)


def quantized(layer):
    return layer.quantize("int8")


CONSTRUCTOR = {
    "cell": "tests/layers/test_cells.py: same_weights_as_the_keras_layer_give_the_same_results",
    **dict.fromkeys(["return_sequences", "return_state", "go_backwards", "unroll", "zero_output_for_mask"], MODES),
    "stateful": made(stateful, stateful=True, return_state=True),
    "kwargs": ("Unrecognized keyword arguments passed to RNN", lambda: make(*OURS, dropout=0.5)),
    "activity_regularizer": made(penalties, activity_regularizer="l2", return_sequences=True, return_state=True),
    "trainable": frozen(lambda layer: layer),
    "dtype": in_dtypes("float64", "float32"),
    "autocast": made(lambda layer: layer(X.astype(np.float64)), autocast=False),
    "name": made(lambda layer: layer.name == "n" and layer.cell.kernel.path.startswith("n/"), name="n"),
}
CALL = {
    "sequences": made(lambda layer: [layer((3 * X).astype(dtype)) for dtype in ("int32", "float64", "bool")]),
    "initial_state": made(
        lambda layer: [layer(X, initial_state=s) for s in (STATES, tuple(STATES), [s[:1] for s in STATES])]
    ),
    "mask": made(lambda layer: [layer(X, mask=m) for m in (MASK, MASK[..., None], MASK.astype(np.float32), MASK[:1])]),
    "training": "tests/layers/test_capped_input_gate.py: capped_input_gate",
}
METHODS = {
    "add_loss": refused("`add_loss\\(\\)` can only be called from inside", lambda layer: layer.add_loss(lambda: 0)),
    "add_metric": refused("metrics", lambda layer: layer.add_metric(0)),
    "add_variable": refused("cannot add new elements of state", lambda layer: layer.add_variable((2,), "ones")),
    "add_weight": refused("cannot add new elements of state", lambda layer: layer.add_weight(shape=(2,))),
    "build": made(lambda layer: [weight.shape for weight in layer.weights]),
    **dict.fromkeys(["build_from_config", "from_config", "get_config", "get_build_config"], made(rebuilt)),
    "count_params": made(rebuilt),
    "call": made(lambda layer: layer.call(tf.constant(X), initial_state=[tf.constant(s) for s in STATES])),
    "compute_mask": made(lambda layer: layer.compute_mask(None, [MASK])[0], return_sequences=True, return_state=True),
    "compute_output_shape": made(lambda layer: layer.compute_output_shape((7, TIME, INPUT)), return_state=True),
    "compute_output_spec": made(spec_of, return_state=True, return_sequences=True),
    "get_initial_state": made(lambda layer: layer.get_initial_state(4)),
    "get_weights": made(lambda layer: layer.get_weights()),
    "inner_loop": made(run_loop, return_sequences=True),
    **dict.fromkeys(["load_own_variables", "save_own_variables"], made(stored)),
    **dict.fromkeys(["quantize", "quantized_build", "quantized_call"],
                    refused("does not have a `quantize` method", quantized)),
    "rematerialized_call": rematerialized,
    **dict.fromkeys(["reset_state", "reset_states"], made(stateful, stateful=True, return_state=True)),
    "set_weights": made(lambda layer: (layer.set_weights([2 * w for w in WEIGHTS]), layer(X))[1]),
    "stateless_call": made(stateless),
    "symbolic_call": made(symbolic),
}  # fmt: skip
ATTRIBUTES = {
    "dtype_policy": in_dtypes("mixed_bfloat16", "mixed_bfloat16"),
    "input_spec": refused(
        r"expected shape=\(None, 4, 2\), found shape=\(3, 5, 2\)",
        lambda layer: (setattr(layer, "input_spec", keras.layers.InputSpec(shape=(None, 4, 2))), layer(X)),
    ),
    "supports_masking": made(without_masking),
    "trainable": frozen(lambda layer: layer),
    **{name: assigned(name, True) for name in ("return_sequences", "go_backwards", "unroll", "zero_output_for_mask")},
    "return_state": made(lambda layer: (setattr(layer, "return_state", True), layer(X))[1]),
    "stateful": made(lambda layer: (setattr(layer, "stateful", True), layer.build(X.shape), layer(X), layer(X))[2:]),
    "activity_regularizer": made(
        lambda layer: (setattr(layer, "activity_regularizer", keras.regularizers.L2(0.5)), penalties(layer))[1]
    ),
    "cell": refused("cannot add new elements of state", lambda layer: setattr(layer, "cell", CELLS["rnn"](3))),
}
CELL_OPTIONS = {
    **dict.fromkeys(inspect.signature(tfcharlm.LSTMCell).parameters, ARGUMENTS),
    **dict.fromkeys(["kernel_initializer", "recurrent_initializer", "bias_initializer", "unit_forget_bias"], INITIAL),
    **{
        f"{array}_{kind}": ARGUMENTS
        for array in ("kernel", "recurrent", "bias")
        for kind in ("regularizer", "constraint")
    },
    **{
        name: (f"LSTMCell has no {name}; received {name}=1. Type ", lambda name=name: CELLS["lstm"](3, **{name: 1}))
        for name in ("dropout", "recurrent_dropout", "seed", "implementation")
    },
    "activity_regularizer": (r"must be None for a cell; received .*Type tfcharlm.RNN\(cell, activity_regularizer=",
                             lambda: CELLS["lstm"](3, activity_regularizer="l2")),
    "autocast": ("autocast must be False for LSTMCell", lambda: CELLS["lstm"](3, autocast=True)),
    "trainable": frozen(lambda layer: layer.cell),
    "dtype": in_dtypes("float32", "float64"),
    "name": made(lambda layer: layer.cell.name, cell_options={"name": "c"}),
}  # fmt: skip
TABLES = {
    "constructor": CONSTRUCTOR, "call": CALL, "method": METHODS, "attribute": ATTRIBUTES, "cell": CELL_OPTIONS,
}  # fmt: skip


def public(owner, kinds):
    names = [name for name in dir(owner) if not name.startswith("_")]
    return {name for name in names if isinstance(inspect.getattr_static(owner, name), kinds)}


def names_in(*functions):
    return set().union(*(inspect.signature(function).parameters for function in functions)) - {"self"}


def test_no_row_is_missing():
    """When Keras gains a name, decide: the numbers of Keras, or a line that refuses it."""
    layer = keras.layers.RNN
    settable = {name for name in public(layer, property) if inspect.getattr_static(layer, name).fset}
    assert set(CONSTRUCTOR) == names_in(layer.__init__, keras.layers.Layer.__init__)
    assert set(CALL) == names_in(layer.call)
    assert set(METHODS) == public(layer, (type(make), classmethod))
    assert set(ATTRIBUTES) == settable | names_in(layer.__init__) - {"kwargs"} | {"activity_regularizer"}
    assert set(CELL_OPTIONS) - {"cap_input_gate"} == names_in(
        keras.layers.LSTMCell.__init__, keras.layers.Layer.__init__
    ) | {"implementation"}


@pytest.mark.parametrize(("table", "name"), [(table, name) for table, rows in TABLES.items() for name in rows])
def test_it_is_right_or_refused(table, name):
    row = TABLES[table][name]
    if isinstance(row, str):
        path, test = row.split(": ")
        assert f"def test_{test}(" in (Path(__file__).parents[2] / path).read_text(), "the test that it names is gone"
    elif isinstance(row, tuple):
        with pytest.raises(Exception, match=row[0]) as error:
            row[1]()
        assert len(str(error.value)) <= 300 and "\n" not in str(error.value).strip()
    else:
        ours, theirs = (keras.tree.flatten(row(*kind)) for kind in (OURS, THEIRS))
        assert len(ours) == len(theirs)
        for mine, its in zip(ours, theirs, strict=True):
            assert_close([mine], [its], getattr(row, "tolerance", 2e-5)) if not isinstance(
                its, str | bool | None
            ) else mine == its


SHAPE, TWO = (
    r"sequences must have the shape \(batch, steps, 2\) with at least one step; ",
    "initial_state must be 2 tensors",
)
CELL, TIMES = "cell must be an RNN cell, .*; received ", r"mask must be None or bool \(3, 5\); received "
REFUSED = {
    "rows of another rank": (lambda layer: layer(X[0]), SHAPE),
    "rows of another width": (lambda layer: layer(np.zeros((3, 5, 4))), SHAPE + r"received \(3, 5, 4\)\."),
    "no steps": (lambda layer: layer(X[:, :0]), SHAPE),
    "a ragged tensor": (lambda layer: layer(tf.RaggedTensor.from_tensor(X)), r"dense .* sequences.to_tensor\(\)"),
    "complex numbers": (lambda layer: layer(X.astype(np.complex64)), "must be real numbers; received complex64"),
    "strings": (lambda layer: layer(np.full(X.shape, "a")), "must be real numbers; received str"),
    "one state of two": (lambda layer: layer(X, initial_state=STATES[:1]), TWO + r" \(3, 7\), \(3, 7\); received"),
    "a state of two": (lambda layer: layer(X, initial_state=STATES[0]), TWO),
    "three states": (lambda layer: layer(X, initial_state=[*STATES, STATES[0]]), TWO),
    "states of lists": (lambda layer: layer(X, initial_state=[s.tolist() for s in STATES]), TWO),
    "states of other rows": (lambda layer: layer(X, initial_state=[s[:2] for s in STATES]), TWO),
    "states of other units": (lambda layer: layer(X, initial_state=[s[:, :3] for s in STATES]), TWO),
    "a mask of other steps": (lambda layer: layer(X, mask=MASK[:, :3]), TIMES),
    "a mask of other rows": (lambda layer: layer(X, mask=MASK[:2]), TIMES),
    "a mask of units": (lambda layer: layer(X, mask=np.ones(X.shape)), TIMES),
    "stateful, but not built so": (lambda layer: (setattr(layer, "stateful", True), layer(X)), "stateful must be set "),
    "no cells": (lambda layer: tfcharlm.RNN([])(X), CELL + "an empty list"),
    "a layer for a cell": (lambda layer: tfcharlm.RNN(keras.layers.LSTM(3))(X), CELL + "<LSTM"),
    "states of no batch": (lambda layer: layer.cell.get_initial_state(), "batch_size must be .* received None"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_call_that_does_not_fit_is_refused_in_one_line(name):
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as error:
        call(make(*OURS))
    assert len(str(error.value)) <= 300 and "\n" not in str(error.value)


def test_a_mask_of_lists_is_a_mask():
    np.testing.assert_array_equal(make(*OURS)(X, mask=MASK.tolist()), make(*OURS)(X, mask=MASK))


def test_the_states_of_a_stack_are_reset():
    """Keras's own layer fails. The expected numbers are those of a layer that never was stateful."""
    layers = [tfcharlm.RNN([CELLS["lstm"](4), CELLS["rnn"](3)], stateful=stateful) for stateful in (True, False)]
    for layer in layers:
        layer.build(X.shape)
    layers[1].set_weights(layers[0].get_weights())
    first, second = layers[0](X), layers[0](X)
    layers[0].reset_state()
    np.testing.assert_array_equal(layers[0](X), first)
    assert np.abs(first - second).max() > 0.01
    np.testing.assert_allclose(layers[1](np.concatenate([X, X], axis=1)), second, rtol=1e-4, atol=1e-5)


def test_a_cell_takes_a_single_state_without_a_list():
    ours, theirs = CELLS["rnn"](UNITS), KERAS_CELLS["rnn"](UNITS)
    for cell in (ours, theirs):
        cell.build((BATCH, INPUT))
    ours.set_weights(theirs.get_weights())
    assert_close(ours(X[:, 0], STATES[0]), theirs(X[:, 0], STATES[0]), 1e-5)


# Of Bidirectional, `weights` is not here: Keras 3 keeps them and never sets them.
WRAPPERS = [("Bidirectional", {"merge_mode": mode}) for mode in ("sum", "mul", "ave", "concat", None)]
WRAPPERS.append(("TimeDistributed", {}))


@pytest.mark.parametrize(("wrapper", "options"), WRAPPERS, ids=str)
def test_wrappers_of_keras(wrapper, options):
    """A mask, sequences and states; of Bidirectional also a backward layer that Keras makes from the configuration."""
    assert names_in(keras.layers.Bidirectional) == {"layer", "merge_mode", "weights", "backward_layer", "kwargs"}
    assert names_in(keras.layers.TimeDistributed) == {"layer", "kwargs"}
    results, both = [], wrapper == "Bidirectional"
    for layer_class, cells in (OURS, THEIRS):
        layer = layer_class(cells["lstm"](UNITS), return_sequences=True, return_state=both)
        inputs, mask = (X, MASK) if both else (np.stack([X, 2 * X]), np.stack([MASK, ~MASK]))
        wrapped = getattr(keras.layers, wrapper)(layer, **options)
        wrapped.build(inputs.shape)
        wrapped.set_weights((WEIGHTS * 2)[: len(wrapped.get_weights())])
        results.append(keras.tree.flatten(wrapped(inputs, mask=tf.constant(mask))))
        results[-1] += keras.tree.flatten(wrapped(X, initial_state=[*STATES, *STATES])) if both else []
    assert_close(*results, 1e-5)


def test_a_backward_layer_of_another_cell():
    results = []
    for layer_class, cells in (OURS, THEIRS):
        forward = layer_class(cells["lstm"](UNITS), return_sequences=True)
        backward = layer_class(cells["rnn"](UNITS), return_sequences=True, go_backwards=True)
        both = keras.layers.Bidirectional(forward, backward_layer=backward)
        both.build(X.shape)
        both.set_weights([*WEIGHTS, *random_arrays(np.random.default_rng(5), "rnn", dtype=np.float32)])
        results.append(both(X, mask=tf.constant(MASK)))
    assert_close(*results, 1e-5)
