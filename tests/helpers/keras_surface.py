"""A small CharLM beside a functional Keras model with the same layers and weights: what it should do, by Keras."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcharlm
from helpers.models import SIZE, VOCABULARY

ROWS, TIME, EMBEDDING, UNITS = 6, 3, 4, 5
NAMES = ["loss", "accuracy", "perplexity", "bits_per_character"]
# Without momentum: an optimizer that keeps nothing between two rows of a table.
LEARNING_RATE = 0.5


class Pair(NamedTuple):
    """The same model twice, and the weights with which every row of a table starts."""

    model: tfcharlm.CharLM
    functional: keras.Model
    weights: list

    def reset(self):
        for model in (self.model, self.functional):
            model.set_weights(self.weights)


def make_charlm(**arguments):
    return tfcharlm.CharLM(VOCABULARY, [tfcharlm.RNNCell(UNITS)], EMBEDDING, **arguments)


def make_functional():
    tokens = keras.Input((None,), dtype="int32")
    outputs = keras.layers.Embedding(SIZE, EMBEDDING, name="embedding")(tokens)
    outputs = keras.layers.SimpleRNN(UNITS, return_sequences=True)(outputs)
    return keras.Model(tokens, keras.layers.Dense(SIZE, name="head")(outputs))


def make_pair(**compile_arguments):
    """Both models with the same weights and compiled with the same arguments."""
    rng = np.random.default_rng(5)
    model, functional = make_charlm(), make_functional()
    pair = Pair(model, functional, [rng.normal(size=w.shape).astype(np.float32) for w in model.get_weights()])
    pair.reset()
    compile_pair(pair, **compile_arguments)
    return pair


def compile_pair(pair, **arguments):
    arguments = {"optimizer": keras.optimizers.SGD(LEARNING_RATE)} | arguments
    pair.model.compile(**arguments)
    if isinstance(arguments["optimizer"], keras.optimizers.Optimizer):
        arguments["optimizer"] = arguments["optimizer"].from_config(arguments["optimizer"].get_config())
    pair.functional.compile(**arguments, loss=make_loss())


def make_loss():
    """The loss of a CharLM, which divides by the sum of the weights, as a loss of Keras."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")


def make_arrays(rows=ROWS, seed=0):
    """Tokens, targets and weights, (rows, TIME) each."""
    rng = np.random.default_rng(seed)
    tokens, targets = rng.integers(SIZE, size=(2, rows, TIME))
    return tokens, targets, rng.uniform(0.1, 2, size=(rows, TIME)).astype(np.float32)


def make_dataset(*arrays, batch_size=2):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(batch_size)


class Batches(keras.utils.PyDataset):
    """Batches of arrays, as Keras takes them from a class of Python."""

    def __init__(self, *arrays, batch_size=2):
        super().__init__()
        self.arrays, self.batch_size = arrays, batch_size

    def __len__(self):
        return len(self.arrays[0]) // self.batch_size

    def __getitem__(self, i):
        return tuple(array[i * self.batch_size : (i + 1) * self.batch_size] for array in self.arrays)


class Row(NamedTuple):
    """One way to give an argument.

    Args:
        given: a function without arguments that makes the keyword arguments of the call.
        to_functional: the same for the functional model; None if they are the same.
        refused: what the one line of the error matches; None if the argument is accepted.
    """

    given: Callable[[], Mapping[str, Any]]
    to_functional: Callable[[], Mapping[str, Any]] | None = None
    refused: str | None = None


def arguments_of(method):
    """The names of the arguments of a method of `keras.Model`, those in `**kwargs` as one."""
    return [name for name in inspect.signature(getattr(keras.Model, method)).parameters if name != "self"]


def check_row(pair, method, row):
    """A row of the table of `method`: the numbers of the functional model, or one line that says what to do."""
    pair.reset()
    if row.refused:
        check_refused(lambda: getattr(pair.model, method)(**row.given()), row.refused)
        for weight, expected in zip(pair.model.get_weights(), pair.weights, strict=True):
            np.testing.assert_array_equal(weight, expected)
        return
    results = []
    for model, given in ((pair.model, row.given), (pair.functional, row.to_functional or row.given)):
        keras.utils.set_random_seed(3)
        results.append(as_numbers(getattr(model, method)(**given())))
    assert_same(*results)
    for weight, expected in zip(pair.model.get_weights(), pair.functional.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-5)


def check_refused(call, match):
    with pytest.raises(Exception, match=match) as caught:
        call()
    assert len(str(caught.value)) <= 300 and "\n" not in str(caught.value)


def as_numbers(result):
    return result.history if isinstance(result, keras.callbacks.History) else result


def assert_same(ours, keras_own):
    """Everything that the functional model says is what ours says, too; only the names of our metrics are added."""
    if isinstance(keras_own, dict):
        assert {name.removeprefix("val_") for name in ours.keys() - keras_own.keys()} <= set(NAMES)
        ours = {name: ours[name] for name in keras_own}
        for name, value in keras_own.items():
            np.testing.assert_allclose(ours[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    elif np.ndim(keras_own) == 0:
        # The loss alone, where ours is the first of four numbers.
        assert len(ours) == len(NAMES)
        assert ours[0] == pytest.approx(float(keras_own), rel=1e-5)
    else:
        np.testing.assert_allclose(ours, keras_own, rtol=1e-5, atol=1e-5)
