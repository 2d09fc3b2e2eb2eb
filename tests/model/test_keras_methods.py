"""Every public method, property and settable attribute of `keras.Model`, in a table.

Each is right by NumPy or by the numbers of a functional Keras model with the same weights, or refused in one line.
"""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.keras_surface import (
    EMBEDDING,
    NAMES,
    ROWS,
    UNITS,
    check_refused,
    make_arrays,
    make_charlm,
    make_functional,
    make_loss,
    make_pair,
)
from helpers.models import SIZE

from tfcharlm import reference

X, Y, WEIGHTS = make_arrays()
TABLE, REFUSED = {}, set()


def row(*names, refused=False):
    """Marks a check as a row of the table, for these names."""

    def mark(check):
        TABLE.update(dict.fromkeys(names, check))
        REFUSED.update(names if refused else ())
        return check

    return mark


@pytest.fixture(scope="module")
def module_pair():
    return make_pair(run_eagerly=True)


@pytest.fixture
def pair(module_pair):
    module_pair.reset()
    return module_pair


def parameters_of(model):
    embedding, *cell, kernel, bias = (weight.astype(np.float64) for weight in model.get_weights())
    return reference.Parameters(embedding, (reference.RNNWeights(*cell),), kernel, bias)


def logits_of(model, tokens=X):
    """In NumPy."""
    parameters = parameters_of(model)
    return reference.step(parameters, tokens, reference.initial_state(parameters, len(tokens)))[0]


def loss_of(model, weights=None):
    """In NumPy."""
    return reference.loss_and_gradients(parameters_of(model), X, Y, weights=weights)[0]


def close(value, expected):
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)


# -- calls


@row("call", "symbolic_call", "compute_output_shape", "compute_output_spec", "compute_mask", "supports_masking")
def calls_and_shapes(pair):
    model = pair.model
    close(model.call(tf.constant(X)), logits_of(model))
    spec = keras.KerasTensor((None, 7), "int32")
    for symbolic in (model.symbolic_call(spec), model.compute_output_spec(spec), model(spec)):
        assert symbolic.shape == (None, 7, SIZE) and symbolic.dtype == "float32"
    assert model.compute_output_shape((3, None)) == (3, None, SIZE)
    check_refused(lambda: model.compute_output_shape((3,)), r"tokens must be ids \(B, T\)")
    mixed = make_charlm_in("mixed_bfloat16")
    assert mixed.compute_output_spec(spec).dtype == mixed(X).dtype == "float32"
    mask = np.ones((ROWS, 3), bool)
    assert model.supports_masking and model.compute_mask(X) is None and model.compute_mask(X, mask) is mask


def make_charlm_in(dtype):
    cell = keras.layers.SimpleRNNCell(UNITS, dtype=dtype)
    return type(make_charlm())(make_charlm().vocabulary, [cell], EMBEDDING, dtype=dtype)


@row("stateless_call")
def stateless_call_uses_the_values_that_it_gets(pair):
    model, halves = pair.model, [weight / 2 for weight in pair.weights]
    logits, others = model.stateless_call(halves, [], X)
    assert others == [] and not np.allclose(logits, logits_of(model))
    model.set_weights(halves)
    close(logits, logits_of(model))


@row("predict_step", "test_step", "train_step")
def steps_of_one_batch(pair):
    model, batch = pair.model, (tf.constant(X), tf.constant(Y))
    close(model.predict_step(batch), logits_of(model))
    model.reset_metrics()
    assert float(model.test_step(batch)["loss"]) == pytest.approx(loss_of(model), rel=1e-5)
    _, gradients, _ = reference.loss_and_gradients(parameters_of(model), X, Y)
    model.train_step(batch)
    close(model.get_weights()[0], pair.weights[0] - 0.5 * gradients.embedding)


@row("make_train_function", "make_test_function", "make_predict_function", "run_eagerly", "train_function",
     "test_function", "predict_function")  # fmt: skip
def functions_are_made_once_and_again_by_force(pair):
    for name in ("train", "test", "predict"):
        make = getattr(pair.model, f"make_{name}_function")
        make()
        function = getattr(pair.model, f"{name}_function")
        make()
        assert getattr(pair.model, f"{name}_function") is function
        make(force=True)
        assert getattr(pair.model, f"{name}_function") is not function
    assert pair.model.run_eagerly


@row("rematerialized_call", refused=True)
def rematerialization_is_refused(pair):
    match = "RematScope is not supported .* shorter sequences"
    check_refused(lambda: pair.model.rematerialized_call(pair.model.call, X), match)
    with keras.RematScope(mode="full"):
        model = make_charlm()
    for call in (lambda: model(X), lambda: model.step(X, model.initial_state(ROWS))):
        check_refused(call, match)


# -- losses and metrics


@row("compute_loss", "compiled_loss", "stateless_compute_loss")
def losses_of_logits(pair):
    model, expected = pair.model, loss_of(pair.model, WEIGHTS)
    assert float(model.compute_loss(X, Y, model(X), WEIGHTS)) == pytest.approx(expected, rel=1e-5)
    by_row = np.repeat(WEIGHTS[:, :1], X.shape[1], axis=1)
    assert float(model.compute_loss(y=Y, y_pred=model(X), sample_weight=WEIGHTS[:, 0])) == pytest.approx(
        loss_of(model, by_row), rel=1e-5
    )
    with pytest.warns(UserWarning, match="deprecated"):
        assert float(model.compiled_loss(Y, model(X), WEIGHTS)) == pytest.approx(expected, rel=1e-5)
    values = [[v.numpy() for v in group] for group in (
        model.trainable_variables, model.non_trainable_variables, model.metrics_variables)]  # fmt: skip
    loss, _ = model.stateless_compute_loss(*values, x=X, y=Y, y_pred=model(X), sample_weight=WEIGHTS)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    regularized = make_charlm()
    regularized.recurrent[0].cell.kernel.regularizer = keras.regularizers.L2(0.1)
    penalty = 0.1 * np.square(regularized.recurrent[0].cell.kernel.numpy()).sum()
    assert float(sum(regularized.losses)) == pytest.approx(penalty, rel=1e-5)
    assert float(regularized.compute_loss(X, Y, regularized(X))) == pytest.approx(
        loss_of(regularized) + penalty, rel=1e-5
    )


@row("loss", "losses")
def penalties_are_all_that_is_added(pair):
    assert pair.model.loss is None and pair.model.losses == []


@row("metrics", "metrics_names", "metrics_variables", "reset_metrics", "get_metrics_result")
def metrics_count_tokens(pair):
    model = pair.model
    model.evaluate(X, Y, verbose=0)
    loss, hits = loss_of(model), (logits_of(model).argmax(-1) == Y).mean()
    results = {name: float(value) for name, value in model.get_metrics_result().items()}
    expected = {"loss": loss, "accuracy": hits, "perplexity": np.exp(loss), "bits_per_character": loss / np.log(2)}
    assert results == pytest.approx(expected, rel=1e-5)
    assert model.metrics_names == [metric.name for metric in model.metrics] == NAMES
    assert sum(float(v.value) for v in model.metrics_variables) > 0
    model.reset_metrics()
    assert [float(v.value) for v in model.metrics_variables] == [0.0] * len(model.metrics_variables)


@row("compute_metrics")
def metrics_of_compile_are_updated(pair):
    model = make_charlm()
    model.compile(weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="hits")])
    results = model.compute_metrics(X, Y, model(X), WEIGHTS)
    hits = logits_of(model).argmax(-1) == Y
    assert float(results["hits"]) == pytest.approx((hits * WEIGHTS).sum() / WEIGHTS.sum(), rel=1e-5)


@row("compiled_metrics", refused=True)
def metrics_of_keras_2_are_refused(pair):
    check_refused(lambda: pair.model.compiled_metrics, "Type model.compute_metrics")


@row("add_metric", refused=True)
def metrics_cannot_be_added(pair):
    check_refused(lambda: pair.model.add_metric(X), r"Model.compile\(metrics=\[\.\.\.\]\)")


@row("add_loss", "activity_regularizer", refused=True)
def losses_of_activations_are_refused(pair):
    for layer in (pair.model, pair.model.embedding, pair.model.head):
        check_refused(
            lambda layer=layer: layer.add_loss(tf.constant(3.0)), "add_loss is not supported .*kernel_regularizer"
        )
        check_refused(
            lambda layer=layer: setattr(layer, "activity_regularizer", keras.regularizers.L2(1.0)),
            "activity_regularizer must be None .*kernel_regularizer",
        )
        layer.activity_regularizer = None
        assert layer.activity_regularizer is None
    assert pair.model.evaluate(X, Y, verbose=0)[0] == pytest.approx(loss_of(pair.model), rel=1e-5)


# -- weights and layers


@row("weights", "variables", "trainable_weights", "trainable_variables", "non_trainable_weights",
     "non_trainable_variables", "get_weights", "set_weights", "count_params", "trainable")  # fmt: skip
def weights_are_those_of_the_functional_model(pair):
    for name in ("weights", "variables", "trainable_weights", "trainable_variables"):
        # Cells of Keras have a generator of random numbers among their variables.
        assert [w.shape for w in getattr(pair.model, name)] == [w.shape for w in pair.functional.weights]
    parameters = SIZE * EMBEDDING + (EMBEDDING + UNITS + 1) * UNITS + (UNITS + 1) * SIZE
    assert pair.model.count_params() == parameters
    for value, expected in zip(pair.model.get_weights(), pair.weights, strict=True):
        np.testing.assert_array_equal(value, expected)
    check_refused(lambda: pair.model.set_weights(pair.weights[1:]), "length 5")
    for trainable in (False, True):
        for model in pair[:2]:
            model.trainable = trainable
        assert len(pair.model.trainable_weights) == len(pair.functional.trainable_weights) == 6 * trainable
        for name in ("non_trainable_weights", "non_trainable_variables"):
            assert len(getattr(pair.model, name)) == 6 * (not trainable)


@row("layers", "get_layer")
def layers_have_names(pair):
    model = pair.model
    assert [layer.name for layer in model.layers] == ["embedding", "recurrent_0", "head"]
    assert model.get_layer("head") is model.head and model.get_layer(index=0) is model.embedding
    check_refused(lambda: model.get_layer("tail"), "No such layer: tail")
    with pytest.raises(AttributeError):
        model.layers = []


@row("add_weight", "add_variable", refused=True)
def weights_cannot_be_added(pair):
    for add in (pair.model.add_weight, pair.model.add_variable):
        check_refused(lambda add=add: add(shape=(1,), initializer="zeros"), "cannot add new elements of state")


@row("build", "build_from_config", "get_build_config", "built")
def building_again_changes_nothing(pair):
    model = pair.model
    model.build((None, 3))
    model.build_from_config(model.get_build_config())
    model.build_from_config({"input_shape": (2, 3)})
    assert model.built
    for value, expected in zip(model.get_weights(), pair.weights, strict=True):
        np.testing.assert_array_equal(value, expected)


@row("summary")
def a_summary_counts_the_parameters(pair):
    lines = []
    pair.model.summary(print_fn=lines.append, expand_nested=True, show_trainable=True)
    assert f"Trainable params: {pair.model.count_params()}" in "".join(lines) and "recurrent_0" in "".join(lines)


@row("path", "input", "output")
def a_model_has_inputs_once_it_is_in_another_one(pair):
    model = make_charlm()
    assert model.path == model.name
    check_refused(lambda: model.input, "never been called")
    tokens = keras.Input((None,))
    logits = model(tokens)
    assert model.input is tokens and model.output is logits


# -- dtypes and quantization


@row("dtype", "compute_dtype", "variable_dtype", "input_dtype", "quantization_mode")
def dtypes_are_those_of_the_policy(pair):
    model = make_charlm_in("mixed_bfloat16")
    assert (model.dtype, model.variable_dtype, model.compute_dtype) == ("float32", "float32", "bfloat16")
    # A bfloat16 cannot hold the id 257.
    assert model.input_dtype == "int32" and model.quantization_mode is None


@row("dtype_policy", refused=True)
def dtype_policies_are_fixed(pair):
    for layer in (pair.model, pair.model.embedding, pair.model.head):
        for policy in ("int8_from_float32", "mixed_bfloat16"):
            check_refused(
                lambda layer=layer, policy=policy: setattr(layer, "dtype_policy", policy),
                "dtype_policy must be given when",
            )
        assert layer.dtype_policy.name == "float32"
    for dtype in ("int8_from_float32", "int32", keras.dtype_policies.DTypePolicyMap()):
        check_refused(lambda dtype=dtype: make_charlm(dtype=dtype), "dtype must be float32, .* received")
    close(pair.model(X), logits_of(pair.model))
    model = make_charlm()
    model.recurrent[0].dtype_policy = "bfloat16"
    check_refused(
        model.get_config, "dtype_policy of recurrent_0 must be that of the model, float32; received 'bfloat16'"
    )


@row("quantize", "quantized_build", "quantized_call", "get_quantization_layer_structure", refused=True)
def quantization_is_refused(pair):
    model = pair.model
    match = r"quantize is not supported .*onnxruntime.quantization.quantize_dynamic\('model.onnx', 'int8.onnx'\)"
    for mode in ("int8", "int4", "float8"):
        for layer in (model, model.embedding, model.head):
            check_refused(lambda layer=layer, mode=mode: layer.quantize(mode), match)
        check_refused(lambda mode=mode: model.quantize(mode, filters="head"), match)
    for layer in (model.embedding, model.head):
        check_refused(lambda layer=layer: layer.enable_lora(2), "enable_lora is not supported .*trainable = False")
    check_refused(lambda: model.recurrent[0].cell.quantize("int8"), "does not have a `quantize` method")
    check_refused(lambda: model.quantized_build((None, 3), "int8"), "does not have a `quantized_build` method")
    check_refused(lambda: model.quantized_call(X), "Invalid quantization mode")
    assert model.get_quantization_layer_structure("gptq") is None
    close(model(X), logits_of(model))
    # A model around it is quantized, and this part of it stays as it is.
    outer = keras.Sequential([model, keras.layers.Dense(3, name="top")])
    outer(X)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outer.quantize("int8")
    assert "quantize is not supported by CharLM" in str([warning.message for warning in caught])
    assert outer.get_layer("top").quantization_mode == "int8"
    close(model(X), logits_of(model))


# -- copies and files; test_keras_copies.py has every way


@row("get_config", "from_config", "to_json", "save", "save_weights", "load_weights", "export")
def configs_and_files(pair, directory):
    model = pair.model
    assert model.from_config(model.get_config()).get_config() == model.get_config()
    assert keras.models.model_from_json(model.to_json()).get_config() == model.get_config()
    for name in ("model.h5", "model.hdf5"):
        check_refused(
            lambda name=name: model.save(directory / name), r"must end in .keras.*Type model.save\('model.keras'\)"
        )
    for arguments, name in (({"verbose": True}, "verbose"), ({"input_signature": []}, "input_signature")):
        check_refused(lambda arguments=arguments: model.export(directory / "m", **arguments), f"no argument '{name}'")
    check_refused(
        lambda: model.export(directory / "m", format="openvino"), "format must be one of tf_saved_model, litert"
    )
    model.save_weights(directory / "model.weights.h5")
    other = make_charlm()
    other.load_weights(directory / "model.weights.h5")
    close(other(X), logits_of(model))
    assert list(directory.iterdir()) == [directory / "model.weights.h5"]


@row("save_own_variables", "load_own_variables")
def a_model_owns_no_variables_itself(pair):
    store = {}
    pair.model.save_own_variables(store)
    assert store == {}
    pair.model.load_own_variables(store)


@row("get_state_tree", "set_state_tree")
def state_trees_come_back(pair):
    model = pair.model
    tree = model.get_state_tree("numpy_array")
    model.set_weights([weight + 1 for weight in pair.weights])
    model.set_state_tree(tree)
    for value, expected in zip(model.get_weights(), pair.weights, strict=True):
        np.testing.assert_array_equal(value, expected)


@row("get_compile_config", "compile_from_config")
def compile_configs_come_back(pair):
    config = pair.model.get_compile_config()
    other = make_charlm()
    assert other.get_compile_config() == {}
    other.compile_from_config(config)
    assert other.get_compile_config() == config and other.run_eagerly
    assert len(other.optimizer.variables) == len(pair.model.optimizer.variables)


# -- other attributes


@row("jit_compile", "supports_jit")
def xla_stays_off(pair):
    with pytest.warns(UserWarning, match="doesn't support `jit_compile=True`"):
        pair.model.jit_compile = True
    assert pair.model.jit_compile is False and pair.model.supports_jit is False


@row("input_spec")
def an_input_spec_is_checked(pair):
    pair.model.input_spec = keras.InputSpec(shape=(None, X.shape[1] + 1))
    with pytest.raises(ValueError, match="is incompatible with the layer"):
        pair.model(X)
    pair.model.input_spec = None
    close(pair.model(X), logits_of(pair.model))


@row("distribute_strategy", "distribute_reduction_method")
def without_a_strategy_there_is_one_process(pair):
    assert pair.model.distribute_strategy is tf.distribute.get_strategy()
    # Keras keeps it and does not use it.
    pair.model.distribute_reduction_method = "sum"
    assert pair.model.distribute_reduction_method == "sum"
    pair.model.distribute_reduction_method = None


@row("name")
def a_name_is_kept(pair):
    assert make_charlm(name="shakespeare").get_config()["name"] == "shakespeare"


@row("autocast", "call_signature_parameters", refused=True)
def other_arguments_of_a_layer_are_refused(pair):
    for name, value in {"autocast": True, "activity_regularizer": "l2", "input_shape": (3,)}.items():
        check_refused(lambda arguments={name: value}: make_charlm(**arguments), f"CharLM has no argument '{name}'")
    pair.model.autocast = True
    close(pair.model(X.astype(np.float32)), logits_of(pair.model))
    pair.model.autocast = False
    assert pair.model.call_signature_parameters == ["inputs", "training", "mask"]


@row("compiled", "optimizer", "history", "stop_training", "stop_evaluating", "stop_predicting")
def callbacks_stop_as_in_keras(pair):
    assert pair.model.compiled
    for flag, hook, run in (
        (
            "stop_training",
            "on_train_batch_end",
            lambda m, note: m.fit(X, Y, 2, callbacks=[note], shuffle=False, verbose=0),
        ),
        ("stop_evaluating", "on_test_batch_end", lambda m, note: m.evaluate(X, Y, 2, 0, callbacks=[note])),
        ("stop_predicting", "on_predict_batch_end", lambda m, note: m.predict(X, 2, 0, callbacks=[note])),
    ):
        counts = []
        for model in pair[:2]:
            seen = []
            stop = lambda batch, logs, m=model, s=seen, f=flag: (s.append(batch), setattr(m, f, True))  # noqa: E731
            run(model, keras.callbacks.LambdaCallback(**{hook: stop}))
            counts.append(seen)
        assert counts[0] == counts[1] == [0], flag
    assert pair.model.history.history["loss"][0] == pytest.approx(pair.functional.history.history["loss"][0], rel=1e-5)
    rate = pair.model.optimizer.learning_rate
    pair.model.optimizer.learning_rate = 0.0
    before = pair.model.get_weights()
    pair.model.train_on_batch(X, Y)
    np.testing.assert_array_equal(pair.model.get_weights()[0], before[0])
    pair.model.optimizer.learning_rate = rate


@row("steps_per_execution", "unrolled_steps_per_execution")
def steps_per_execution_are_those_of_compile(pair):
    assert (pair.model.steps_per_execution, pair.model.unrolled_steps_per_execution) == (1, 1)


# Their arguments have a table of their own, in test_keras_arguments.py.
ELSEWHERE = {"compile", "fit", "evaluate", "predict", "train_on_batch", "test_on_batch", "predict_on_batch"}
CHECKS = list(dict.fromkeys(TABLE.values()))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_row_of_the_table(check, pair, tmp_path, small_graphs):
    check(pair, tmp_path) if check is configs_and_files else check(pair)


def test_the_table_has_everything_public():
    """If Keras gains a method or an attribute, a row is missing here."""
    functional = make_functional()
    functional.compile("sgd", make_loss(), run_eagerly=True)
    functional.fit(X, Y, verbose=0)
    public = {name for name in dir(keras.Model) if not name.startswith("_")}
    attributes = {name for name in vars(functional) if not name.startswith("_")}
    # What only a functional model has.
    attributes -= {"inputs", "outputs", "output_names", "operations"}
    assert public | attributes <= TABLE.keys() | ELSEWHERE, sorted((public | attributes) - TABLE.keys() - ELSEWHERE)
    assert not ELSEWHERE & TABLE.keys()
    unknown = TABLE.keys() - public - attributes - {"stop_evaluating", "stop_predicting"}
    assert unknown == set()
    print(f"{len(TABLE)} names, {len(REFUSED)} of them refused")
    assert len(TABLE) >= 90 and len(REFUSED) <= 16
