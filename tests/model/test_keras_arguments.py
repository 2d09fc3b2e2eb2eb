"""Every argument of the methods of `keras.Model` that train, evaluate and predict, in a table.

Each row is right by the numbers of a functional Keras model with the same weights, or refused in one line.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.keras_surface import (
    ROWS,
    TIME,
    Batches,
    Row,
    arguments_of,
    check_refused,
    check_row,
    compile_pair,
    make_arrays,
    make_charlm,
    make_dataset,
    make_pair,
)

X, Y, WEIGHTS = make_arrays()
VALID_X, VALID_Y, VALID_WEIGHTS = make_arrays(rows=4, seed=1)
STARTS = np.ones(ROWS, bool)
QUIET = {"verbose": 0}
ARRAYS = QUIET | {"x": X, "y": Y, "batch_size": 2}
# One batch: Keras takes the mean of the losses of batches, weighted by their rows instead of their weights.
WHOLE = ARRAYS | {"batch_size": ROWS}
VALIDATED = ARRAYS | {"validation_data": (VALID_X, VALID_Y), "shuffle": False}


def same(**arguments):
    return Row(lambda: arguments)


def refused(match, **arguments):
    return Row(lambda: arguments, refused=match)


def only_ours(arguments, functional_arguments):
    return Row(lambda: arguments, lambda: functional_arguments)


def sources(steps):
    """The forms in which data that is not an array may come; the order of its batches stays."""
    quiet = {"verbose": 0}
    return [
        Row(lambda: quiet | {"x": make_dataset(X, Y)}, lambda: quiet | {"x": make_dataset(X, Y), "shuffle": False}),
        Row(lambda: quiet | {"x": Batches(X, Y)}, lambda: quiet | {"x": Batches(X, Y), "shuffle": False}),
        Row(
            lambda: quiet | {"x": endless_batches(), steps: 2},
            lambda: quiet | {"x": endless_batches(), steps: 2, "shuffle": False},
        ),
    ]


def endless_batches():
    while True:
        yield X[:4], Y[:4]
        yield X[4:], Y[4:]


def without_shuffle(row):
    """`evaluate` and `predict` have no such argument."""
    drop = ("shuffle",)
    return Row(row.given, lambda: {k: v for k, v in row.to_functional().items() if k not in drop})


def x_of_any_form(**arguments):
    arrays = ARRAYS | arguments
    return [
        same(**arrays),
        same(**arrays | {"x": tf.constant(X)}),
        same(**arrays | {"x": X.astype(np.uint8)}),
        only_ours(arrays | {"x": X.tolist()}, arrays),
        only_ours(arrays | {"x": [X]}, arrays),
        only_ours(arrays | {"x": {"tokens": X}}, arrays),
        refused(r"x must be an array, or lists .* equal lengths.*line_dataset", **arrays | {"x": [[1], [1, 2]]}),
        refused(r"tokens must be ids \(B, T\).*received the shape", **arrays | {"x": X[..., None]}),
        refused(r'dictionary with the key "tokens"', **arrays | {"x": {"token": X}}),
    ]  # fmt: skip


Y_OF_ANY_FORM = [
    same(**ARRAYS),
    same(**ARRAYS | {"y": tf.constant(Y, tf.int16)}),
    # Alone it works in Keras, too, but not after targets of two axes.
    only_ours(ARRAYS | {"y": Y[..., None]}, ARRAYS),
    only_ours(ARRAYS | {"y": Y.tolist()}, ARRAYS),
    refused(r"y must be the token after each token of x.*Type x=ids\[:, :-1\]", **ARRAYS | {"y": None}),
    refused(r"y must be ids \(B, T\).*received the shape", **ARRAYS | {"y": Y[:, 0]}),
    refused(r"y must be the token after each token of x.*received the shape", **ARRAYS | {"y": Y[:, 1:]}),
]
SAMPLE_WEIGHTS = [
    same(**WHOLE | {"sample_weight": WEIGHTS}),
    only_ours(
        WHOLE | {"sample_weight": WEIGHTS[:, 0].tolist()},
        WHOLE | {"sample_weight": np.repeat(WEIGHTS[:, :1], TIME, axis=1)},
    ),
    refused(r"sample_weight must be numbers \(B, T\)", **WHOLE | {"sample_weight": WEIGHTS[:, :2]}),
]
NO_CLASS_WEIGHT = r"class_weight must be None.*sample_weight=weights\[y\]"


FIT = {
    "x": [
        *x_of_any_form(shuffle=False),
        *sources("steps_per_epoch"),
        refused("shuffle must be False or None", **ARRAYS | {"x": {"tokens": X, "start": STARTS}, "shuffle": True}),
        only_ours(ARRAYS | {"x": {"tokens": X, "start": STARTS}}, ARRAYS | {"shuffle": False}),
    ],
    "y": [*Y_OF_ANY_FORM, refused("`y` should not be passed", x=make_dataset(X, Y), y=Y)],
    "batch_size": [same(**ARRAYS | {"batch_size": size}) for size in (4, None)],
    "epochs": [same(**ARRAYS | {"epochs": 2})],
    "verbose": [same(**ARRAYS | {"verbose": how}) for how in (0, 1, 2, "auto")],
    "callbacks": [],
    "validation_split": [
        same(**ARRAYS | {"validation_split": 1 / 3, "epochs": 2}),
        only_ours(ARRAYS | {"x": X.tolist(), "y": Y.tolist(), "validation_split": 1 / 3},
                  ARRAYS | {"validation_split": 1 / 3}),
        refused("only supported for tensors or NumPy arrays", x=make_dataset(X, Y), validation_split=0.5),
    ],
    "validation_data": [
        same(**VALIDATED),
        same(**VALIDATED | {"validation_data": (VALID_X, VALID_Y, VALID_WEIGHTS), "validation_batch_size": 4}),
        same(**VALIDATED | {"validation_data": make_dataset(VALID_X, VALID_Y)}),
        same(**VALIDATED | {"validation_data": Batches(VALID_X, VALID_Y)}),
        only_ours(VALIDATED | {"validation_data": (VALID_X.tolist(), VALID_Y.tolist())}, VALIDATED),
        refused("y must be the token after", **VALIDATED | {"validation_data": VALID_X}),
    ],
    "shuffle": [same(**ARRAYS | {"shuffle": how, "epochs": 2}) for how in (True, False)]
    + [only_ours(ARRAYS, ARRAYS | {"shuffle": True})],
    "class_weight": [refused(NO_CLASS_WEIGHT, **ARRAYS | {"class_weight": {1: 2.0}})],
    "sample_weight": SAMPLE_WEIGHTS,
    "initial_epoch": [same(**ARRAYS | {"initial_epoch": 1, "epochs": 3})],
    "steps_per_epoch": [
        Row(*[lambda: {"x": make_dataset(X, Y).repeat(), "epochs": 2, "steps_per_epoch": 2, "verbose": 0,
                       "shuffle": False}]),
        same(**ARRAYS | {"steps_per_epoch": 2, "shuffle": False}),
    ],
    "validation_steps": [same(**VALIDATED | {"validation_batch_size": 2, "validation_steps": 1})],
    "validation_batch_size": [same(**VALIDATED | {"validation_batch_size": size}) for size in (3, None)],
    "validation_freq": [same(**VALIDATED | {"validation_freq": freq, "epochs": 2}) for freq in (2, [1])]
    + [refused("validation_freq must be .* or a list of epochs", **VALIDATED | {"validation_freq": freq})
       for freq in (0, 0.5)],
}  # fmt: skip
EVALUATE = {
    "x": [*x_of_any_form(), *map(without_shuffle, sources("steps"))],
    "y": Y_OF_ANY_FORM,
    "batch_size": [same(**ARRAYS | {"batch_size": size}) for size in (4, None)],
    "verbose": [same(**ARRAYS | {"verbose": how}) for how in (0, 1, 2, "auto")],
    "sample_weight": SAMPLE_WEIGHTS,
    "steps": [same(**ARRAYS | {"steps": 2})],
    "callbacks": [],
    "return_dict": [same(**ARRAYS | {"return_dict": how}) for how in (True, False)],
    "kwargs": [refused("Arguments not recognized", **ARRAYS | {"class_weight": None})],
}
TOKENS = {"x": X, "batch_size": 2, "verbose": 0}
PREDICT = {
    "x": [
        same(**TOKENS),
        same(**TOKENS | {"x": tf.constant(X)}),
        only_ours(TOKENS | {"x": X.tolist()}, TOKENS),
        only_ours(TOKENS | {"x": {"tokens": X, "start": STARTS}}, TOKENS),
        Row(lambda: {"x": make_dataset(X, Y), "verbose": 0}),
        Row(lambda: {"x": Batches(X, Y), "verbose": 0}),
        refused("x must be an array, or lists", x=[[1], [1, 2]]),
        refused(r"tokens must be ids \(B, T\).*Type tokens\[None\] for a single row", x=X[0]),
    ],
    "batch_size": [same(**TOKENS | {"batch_size": size}) for size in (4, None)],
    "verbose": [same(**TOKENS | {"verbose": how}) for how in (0, 1, 2, "auto")],
    "steps": [same(**TOKENS | {"steps": 2})],
    "callbacks": [],
}
BATCH = {"x": X, "y": Y}


def on_batch(rows):
    """Rows without the arguments that a method for one batch does not have."""
    drop = ("batch_size", "verbose", "shuffle")

    def one(make):
        return make and (lambda: {name: value for name, value in make().items() if name not in drop})

    return [Row(one(row.given), one(row.to_functional), row.refused) for row in rows]


TEST_ON_BATCH = {
    "x": on_batch(x_of_any_form()),
    "y": on_batch(Y_OF_ANY_FORM),
    "sample_weight": on_batch(SAMPLE_WEIGHTS),
    "return_dict": [same(**BATCH | {"return_dict": how}) for how in (True, False)],
}
TRAIN_ON_BATCH = TEST_ON_BATCH | {"class_weight": [refused(NO_CLASS_WEIGHT, **BATCH | {"class_weight": {1: 2.0}})]}
PREDICT_ON_BATCH = {
    "x": [
        same(x=X),
        same(x=tf.constant(X, tf.uint8)),
        only_ours({"x": X.tolist()}, {"x": X}),
        refused("x must be an array, or lists", x=[[1], [1, 2]]),
    ]
}
TABLE = {
    "fit": FIT,
    "evaluate": EVALUATE,
    "predict": PREDICT,
    "train_on_batch": TRAIN_ON_BATCH,
    "test_on_batch": TEST_ON_BATCH,
    "predict_on_batch": PREDICT_ON_BATCH,
}
# Of most arguments, the first row is quick. The other methods take data as `fit` does, by the same code.
WHOLLY_QUICK = [("fit", "x")]
EACH = [
    pytest.param(
        method,
        row,
        id=f"{method}-{argument}-{i}",
        marks=[pytest.mark.slow] * bool(i and not row.refused and (method, argument) not in WHOLLY_QUICK),
    )
    for method, rows_of in TABLE.items()
    for argument, rows in rows_of.items()
    for i, row in enumerate(rows)
]


@pytest.fixture(scope="module")
def eager_pair():
    return make_pair(run_eagerly=True)


@pytest.fixture(scope="module")
def graph_pair():
    return make_pair()


@pytest.mark.parametrize(("method", "row"), EACH)
def test_an_argument_is_right_or_refused(eager_pair, method, row, small_graphs):
    check_row(eager_pair, method, row)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "row"), EACH)
def test_an_argument_is_right_or_refused_in_a_graph(graph_pair, method, row, small_graphs):
    check_row(graph_pair, method, row)


@pytest.mark.parametrize(
    ("method", "hook"),
    [("fit", "on_train_batch_end"), ("evaluate", "on_test_batch_end"), ("predict", "on_predict_batch_end")],
)
def test_callbacks_are_called_as_in_keras(eager_pair, method, hook, small_graphs):
    """The same losses or logits at the same batches, given as a list, alone, or as Keras's own list."""
    arguments = {"fit": ARRAYS | {"shuffle": False}, "evaluate": ARRAYS, "predict": TOKENS}[method]
    for wrap in (list, lambda callbacks: callbacks[0], keras.callbacks.CallbackList):
        eager_pair.reset()
        seen = {}
        for model in (eager_pair.model, eager_pair.functional):
            seen[model.name] = noted = []
            note = keras.callbacks.LambdaCallback(
                **{hook: lambda batch, logs, noted=noted: noted.append((batch, logs.get("loss", logs.get("outputs"))))}
            )
            is_list = wrap is keras.callbacks.CallbackList
            callbacks = wrap([note], model=model, add_history=True) if is_list else wrap([note])
            getattr(model, method)(**arguments, callbacks=callbacks)
        ours, keras_own = seen.values()
        assert [batch for batch, _ in ours] == [batch for batch, _ in keras_own] == [0, 1, 2]
        for (_, value), (_, expected) in zip(ours, keras_own, strict=True):
            np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)


def test_verbose_prints(eager_pair, capsys, small_graphs):
    for verbose, lines in ((0, False), (1, True), (2, True)):
        eager_pair.model.fit(**ARRAYS | {"verbose": verbose})
        assert ("loss" in capsys.readouterr().out) == lines


# -- compile


def eagerly(pair, **arguments):
    compile_pair(pair, run_eagerly=True, **arguments)
    check_row(pair, "fit", same(**ARRAYS | {"shuffle": False}))


def optimizers_are_used(pair):
    # Those that are linear in a gradient. Keras squares the parts of the gradient of an embedding before it adds them.
    momentum = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)
    for optimizer in ("sgd", keras.optimizers.serialize(momentum)):
        eagerly(pair, optimizer=optimizer)
    pair.model.compile(optimizer=None)
    assert pair.model.evaluate(**ARRAYS)[0] > 0
    for train in (lambda: pair.model.fit(**ARRAYS), lambda: pair.model.train_on_batch(X, Y)):
        check_refused(train, r"optimizer must be a Keras optimizer; received None. Type model.compile")


def losses_are_refused(pair):
    for loss in ("sparse_categorical_crossentropy", keras.losses.MeanSquaredError()):
        check_refused(
            lambda loss=loss: pair.model.compile("adam", loss), "loss must be None, because CharLM has its own"
        )


def loss_weights_are_refused(pair):
    check_refused(lambda: pair.model.compile("adam", loss_weights=[2.0]), "loss_weights must be None")


def metrics_are_not_weighted(pair):
    """Keras's own numbers, also under the names of our metrics; weights do not change them."""
    metrics = ["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(3, name="top")]
    compile_pair(pair, metrics=metrics, run_eagerly=True)
    for arguments in (ARRAYS, WHOLE | {"sample_weight": WEIGHTS}):
        check_row(pair, "evaluate", same(**arguments | {"return_dict": True}))
    values = pair.model.evaluate(**ARRAYS)
    # The loss first, as in Keras.
    assert values[0] == pytest.approx(pair.functional.evaluate(**ARRAYS)[0], rel=1e-5)


def weighted_metrics_are_weighted(pair):
    metrics = [keras.metrics.SparseCategoricalAccuracy(name="hits")]
    compile_pair(pair, weighted_metrics=metrics, run_eagerly=True)
    for arguments in (ARRAYS, WHOLE | {"sample_weight": WEIGHTS}):
        check_row(pair, "evaluate", same(**arguments | {"return_dict": True}))
    weighted = pair.model.evaluate(**WHOLE | {"sample_weight": WEIGHTS}, return_dict=True)
    assert weighted["hits"] == pytest.approx(weighted["accuracy"], rel=1e-5)
    assert weighted["hits"] != pytest.approx(pair.model.evaluate(**WHOLE, return_dict=True)["hits"], rel=1e-3)


def eager_and_graph_are_the_same(pair):
    assert pair.model.run_eagerly, "as in all other rows"
    compile_pair(pair, run_eagerly=False)
    assert pair.model.run_eagerly is False
    check_row(pair, "fit", same(**ARRAYS | {"shuffle": False}))


def several_steps_in_an_execution_are_the_same_steps(pair):
    compile_pair(pair, steps_per_execution=2)
    check_row(pair, "fit", same(**ARRAYS | {"shuffle": False}))
    check_row(pair, "predict", same(**TOKENS))
    for number in (0, 1.5, "auto"):
        check_refused(
            lambda number=number: pair.model.compile(steps_per_execution=number), "steps_per_execution must be"
        )


def xla_is_refused_with_a_warning(pair):
    with pytest.warns(UserWarning, match="doesn't support `jit_compile=True`"):
        pair.model.compile(keras.optimizers.SGD(0.5), jit_compile=True, run_eagerly=False)
    assert pair.model.jit_compile is False
    for how in ("auto", False):
        pair.model.compile(jit_compile=how)
        assert pair.model.jit_compile is False


def losses_are_scaled_in_float16(pair):
    for how in (True, False):
        cell = keras.layers.SimpleRNNCell(3, dtype="mixed_float16")
        model = type(pair.model)(pair.model.vocabulary, [cell], dtype="mixed_float16")
        model.compile("sgd", auto_scale_loss=how)
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer) == how
        again = keras.models.clone_model(model)
        assert type(again.optimizer) is type(model.optimizer)


COMPILE = {
    "optimizer": optimizers_are_used,
    "loss": losses_are_refused,
    "loss_weights": loss_weights_are_refused,
    "metrics": metrics_are_not_weighted,
    "weighted_metrics": weighted_metrics_are_weighted,
    "run_eagerly": eager_and_graph_are_the_same,
    "steps_per_execution": several_steps_in_an_execution_are_the_same_steps,
    "jit_compile": xla_is_refused_with_a_warning,
    "auto_scale_loss": losses_are_scaled_in_float16,
}


@pytest.fixture(scope="module")
def compiled_pair():
    return make_pair(run_eagerly=True)


@pytest.mark.parametrize(
    "argument", [pytest.param(name, marks=[pytest.mark.slow] * (name == "steps_per_execution")) for name in COMPILE]
)
def test_an_argument_of_compile(compiled_pair, argument, small_graphs):
    COMPILE[argument](compiled_pair)


def test_arguments_may_be_given_by_position(eager_pair, small_graphs):
    """In Keras's order: the tenth argument of `fit` is `shuffle`."""
    by_name = ARRAYS | {"shuffle": False}
    eager_pair.reset()
    history = eager_pair.model.fit(X, Y, 2, 1, 0, None, 0.0, None, False).history
    eager_pair.reset()
    assert history == eager_pair.model.fit(**by_name).history
    assert eager_pair.model.evaluate(X, Y, 2, 0) == eager_pair.model.evaluate(**ARRAYS)


def test_a_model_that_is_not_compiled_says_so():
    for method in ("fit", "evaluate", "train_on_batch", "test_on_batch"):
        check_refused(
            lambda method=method: getattr(make_charlm(), method)(X, Y), f"compiled before {method}. Type model"
        )


def test_a_step_on_a_batch_that_is_skipped_is_told(eager_pair, small_graphs):
    eager_pair.reset()
    with pytest.warns(UserWarning, match="the step was skipped: the loss is not finite"):
        eager_pair.model.train_on_batch(X, Y, sample_weight=np.where(X[0, 0] == X, np.nan, 1.0))
    for weight, expected in zip(eager_pair.model.get_weights(), eager_pair.weights, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_the_table_has_every_argument():
    """If Keras gains one, a row is missing here."""
    for method, rows in (TABLE | {"compile": COMPILE}).items():
        assert sorted(rows) == sorted(arguments_of(method)), method
    rows = [row for _, row in (param.values for param in EACH)]
    refused_rows = sum(row.refused is not None for row in rows)
    print(f"{len(rows)} rows, {refused_rows} of them refused; compile: {len(COMPILE)}, 2 of them refused")
    assert len(rows) >= 120 and refused_rows < len(rows) / 3
