"""Optimizers and clipping of the reference against Keras and TensorFlow; the check of gradients itself."""

import inspect

import numpy as np
import pytest
import tensorflow as tf
from helpers.reference_layers import KERAS_OPTIMIZERS, D, H, V, agree, check_optimizer_against_keras, flat

from tfcharlm import reference as ref


# Keras rounds these numbers to float32 on their way to a float64 variable: these are exact in both.
@pytest.mark.parametrize(
    "optimizer, arguments",
    [
        (ref.sgd, {"learning_rate": 2**-6}),
        (ref.sgd, {"learning_rate": 2**-6, "momentum": 0.875}),
        (ref.adagrad, {"learning_rate": 2**-6, "initial_accumulator_value": 0.125}),
        (ref.adagrad, {"learning_rate": 0.5, "initial_accumulator_value": 0.0}),
        (ref.rmsprop, {"learning_rate": 2**-6, "rho": 0.75}),
        (ref.adam, {"learning_rate": 2**-6, "beta_1": 0.875, "beta_2": 1 - 2**-10}),
        (ref.adam, {"learning_rate": 0.5, "beta_1": 0.5, "beta_2": 0.75, "epsilon": 0.125}),
    ],
)
def test_optimizer_against_keras(optimizer, arguments, rng):
    check_optimizer_against_keras(optimizer, arguments, rng)


@pytest.mark.parametrize("optimizer", KERAS_OPTIMIZERS)
def test_optimizer_defaults_are_those_of_keras(optimizer):
    config = KERAS_OPTIMIZERS[optimizer]().get_config()
    _, _, _, *arguments = inspect.signature(optimizer).parameters.values()
    for argument in arguments:
        assert argument.default == pytest.approx(config[argument.name], rel=1e-6), argument.name


@pytest.mark.parametrize("limit", [0.5, 1e3])
def test_clipping_against_tensorflow(limit, rng):
    gradients = ref.random_parameters(rng, V, D, [("lstm", H)])
    clipped, norm = ref.clip_by_global_norm(gradients, limit)
    theirs, their_norm = tf.clip_by_global_norm(flat(gradients), limit)
    assert isinstance(clipped, ref.Parameters) and isinstance(clipped.recurrent[0], ref.LSTMWeights)
    agree([*flat(clipped), norm], [*theirs, their_norm])
    by_value = flat(ref.clip_by_value(gradients, limit))
    agree(by_value, [tf.clip_by_value(array, -limit, limit) for array in flat(gradients)])


def test_directional_derivative_sees_one_wrong_entry(rng):
    array = rng.normal(size=(100, 100))
    gradient = np.cos(array)
    measured, claimed = ref.directional_derivative(lambda a: np.sin(a).sum(), array, gradient, rng)
    assert measured == pytest.approx(claimed, rel=1e-6)
    gradient[3, 5] += 1.0
    measured, claimed = ref.directional_derivative(lambda a: np.sin(a).sum(), array, gradient, rng)
    assert measured != pytest.approx(claimed, rel=1e-6)
    with pytest.raises(AssertionError, match=r"\(3, 5\)"):
        ref.check_gradient(lambda a: np.sin(a).sum(), array[:7, :7], gradient[:7, :7])
