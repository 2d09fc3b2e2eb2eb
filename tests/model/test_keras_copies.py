"""Every way to copy and save a model: the weights, the optimizer and what `compile` was given come back.

What is frozen has tests of its own, in test_frozen_layers.py.
"""

import copy
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.keras_surface import Batches, make_arrays, make_charlm

import tfcharlm

X, Y, _ = make_arrays()


@pytest.fixture(scope="module")
def model():
    """A model that was trained with Adam, with two steps behind it. No test changes it."""
    keras.utils.set_random_seed(7)
    model = make_charlm(dropout=0.25, name="shakespeare")
    metric = keras.metrics.SparseTopKCategoricalAccuracy(3, name="top")
    model.compile(keras.optimizers.Adam(0.05, clipnorm=1.0), weighted_metrics=[metric], run_eagerly=True)
    model.fit(Batches(X, Y, batch_size=3), verbose=0)
    return model


def fresh(model):
    """A model of the same configuration with other weights."""
    return keras.models.clone_model(model)


def through_file(model, directory, name="model.keras", **arguments):
    model.save(directory / name, **arguments)
    return keras.models.load_model(directory / name)


def through_weights(model, directory, name="model.weights.h5", **arguments):
    model.save_weights(directory / name, **arguments)
    other = fresh(model)
    other.load_weights(directory / name)
    return other


def through_checkpoint(model, directory):
    tf.train.Checkpoint(model=model).write(str(directory / "checkpoint"))
    other = fresh(model)
    status = tf.train.Checkpoint(model=other).read(str(directory / "checkpoint"))
    status.assert_existing_objects_matched()
    status.assert_consumed()
    return other


def through_arrays(model, directory):
    other = fresh(model)
    other.set_weights(model.get_weights())
    return other


def through_state_tree(model, directory):
    other = fresh(model)
    other.set_state_tree(model.get_state_tree())
    return other


def through_config(model, directory):
    other = tfcharlm.CharLM.from_config(model.get_config())
    other.set_weights(model.get_weights())
    return other


def through_export(model, directory):
    return tfcharlm.load_model(model.export(directory / "model" / "1"))


# way: (function, whether it is compiled, whether the optimizer has its state)
WAYS = {
    ".keras": (through_file, True, True),
    "directory": (lambda model, path: through_file(model, path, "model", zipped=False), True, True),
    "deepcopy": (lambda model, path: copy.deepcopy(model), True, True),
    "copy": (lambda model, path: copy.copy(model), True, True),
    "pickle": (lambda model, path: pickle.loads(pickle.dumps(model)), True, True),
    "tf.train.Checkpoint": (through_checkpoint, True, True),
    "state tree": (through_state_tree, True, True),
    # Of the following, Keras says the same: they hold weights, or a configuration.
    ".weights.h5": (through_weights, True, None),
    ".weights.json": (lambda m, path: through_weights(m, path, "m.weights.json", max_shard_size=1e-6), True, None),
    "set_weights": (through_arrays, True, False),
    "get_config": (through_config, False, None),
    "export": (through_export, False, None),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_is_the_model(model, way, tmp_path, small_graphs):
    function, is_compiled, has_optimizer = WAYS[way]
    again = function(model, tmp_path)
    assert again is not model and type(again) is tfcharlm.CharLM
    assert again.get_config() == model.get_config()
    for value, expected in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(value, expected)
        assert value.path == expected.path
    np.testing.assert_array_equal(again(X), model(X))
    assert again.compiled == is_compiled
    if is_compiled:
        assert again.get_compile_config() == model.get_compile_config()
    if has_optimizer:
        for value, expected in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
            np.testing.assert_array_equal(value, expected)
        assert int(again.optimizer.iterations) == 2
    elif has_optimizer is False:
        assert int(again.optimizer.iterations) == 0


@pytest.mark.parametrize(
    "copied", [keras.models.clone_model, lambda model: keras.models.model_from_json(model.to_json())]
)
def test_a_clone_has_the_configuration_and_other_weights(model, copied):
    """As of a functional model."""
    again = copied(model)
    assert again.get_config() == model.get_config() and again.get_compile_config() == model.get_compile_config()
    assert not np.allclose(again.get_weights()[0], model.get_weights()[0])


@pytest.mark.slow
def test_a_saved_model_computes_the_logits(model, tmp_path, small_graphs):
    """What TensorFlow itself writes computes logits of ids. Only `export` writes a graph of texts."""
    tf.saved_model.save(model, str(tmp_path / "model"))
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    signature = loaded.signatures["serving_default"]
    assert signature.structured_input_signature[1]["inputs"].dtype == tf.int32
    (logits,) = signature(inputs=tf.constant(X, tf.int32)).values()
    np.testing.assert_allclose(logits, model(X), rtol=1e-5, atol=1e-6)


def test_a_copy_is_trained_further_like_the_model(model, tmp_path, small_graphs):
    """The same weights after the same steps: nothing is lost that training needs. Dropout starts again in each."""
    models = [through_file(model, tmp_path), copy.deepcopy(model), through_checkpoint(model, tmp_path)]
    for one in models:
        one.fit(Batches(X, Y, batch_size=3), verbose=0)
    for one in models[1:]:
        for value, expected in zip(one.get_weights(), models[0].get_weights(), strict=True):
            np.testing.assert_array_equal(value, expected)


def test_a_checkpoint_names_the_weights_of_every_layer(model, tmp_path):
    """TensorFlow does not look into lists, and says nothing of what it does not find."""
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "checkpoint"))
    shapes = sorted(tuple(shape) for name, shape in tf.train.list_variables(path) if "optimizer" not in name and shape)
    assert shapes == sorted(tuple(weight.shape) for weight in model.weights)
