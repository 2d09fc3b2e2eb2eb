"""The reference beside finite differences and Keras."""

import functools
import itertools

import keras
import numpy as np
import tensorflow as tf

from tfcharlm import reference as ref

# All sizes differ, so that swapped axes cannot agree.
B, T, D, H, V = 4, 5, 3, 7, 11
# A gap, a late start, nothing at all, and everything.
RAGGED = np.array([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
KINDS = {
    "rnn": (ref.RNNWeights, 1, ref.rnn_forward, ref.rnn_backward, keras.layers.SimpleRNN),
    "lstm": (ref.LSTMWeights, 4, ref.lstm_forward, ref.lstm_backward, keras.layers.LSTM),
    "capped lstm": (
        ref.LSTMWeights, 4, functools.partial(ref.lstm_forward, cap_input_gate=True), ref.lstm_backward, None,
    ),
    "gru": (ref.GRUWeights, 3, ref.gru_forward, ref.gru_backward, keras.layers.GRU),
    "gru, reset before": (
        ref.GRUWeights, 3, ref.gru_forward, ref.gru_backward, functools.partial(keras.layers.GRU, reset_after=False),
    ),
}  # fmt: skip
KERAS_OPTIMIZERS = {
    ref.sgd: keras.optimizers.SGD,
    ref.adagrad: keras.optimizers.Adagrad,
    ref.rmsprop: keras.optimizers.RMSprop,
    ref.adam: keras.optimizers.Adam,
}


class Layer:
    """One recurrent layer with random weights, inputs, states and derivatives by its results."""

    def __init__(self, kind, rng):
        make, num_blocks, self._forward, self._backward, self.keras_class = KINDS[kind]
        bias = (2, num_blocks * H) if kind == "gru" else (num_blocks * H,)
        shapes = (D, num_blocks * H), (H, num_blocks * H), bias
        self.weights = make(*(rng.normal(0, 0.5, shape) for shape in shapes))
        self.x = rng.normal(size=(B, T, D))
        self.states = tuple(rng.normal(size=(2 if "lstm" in kind else 1, B, H)))
        self.d_outputs = rng.normal(size=(B, T, H))
        self.d_states = tuple(rng.normal(size=np.shape(self.states)))

    def forward(self, mask):
        outputs, states, cache = self._forward(self.weights, self.x, *self.states, mask=mask)
        return outputs, states if len(self.states) == 2 else (states,), cache

    def backward(self, mask):
        cache = self.forward(mask)[-1]
        gradients, d_x, d = self._backward(self.weights, cache, self.d_outputs, *self.d_states)
        return gradients, d_x, d if len(self.states) == 2 else (d,)

    def loss(self, mask):
        outputs, states, _ = self.forward(mask)
        return inner((outputs, *states), (self.d_outputs, *self.d_states))


def inner(values, derivatives):
    return sum(np.sum(v * d) for v, d in zip(values, derivatives, strict=True))


def check_gradient(loss, array, gradient):
    """Finite differences of `loss()`, which reads `array`."""

    def function(value):
        before = array.copy()
        array[...] = value
        result = loss()
        array[...] = before
        return result

    assert gradient.shape == array.shape
    ref.check_gradient(function, array, gradient, tolerance=1e-7)


def excess(cache):
    """By how much the input gates of an LSTM's real steps exceed what a cap lets through."""
    i, f, _, _ = np.split(cache.gates, 4, axis=-1)
    return (i - (1 - f))[cache.mask]


def nearest_bend(caches):
    """How near a gate comes to its cap: differences across the bend of a minimum are no derivative."""
    capped = (cache for cache in caches if getattr(cache, "cap_input_gate", False))
    return min((np.abs(excess(cache)).min() for cache in capped), default=1.0)


def flat(parameters):
    """The arrays of `reference.Parameters` as a list, in the order of `CharLM.weights`."""
    embedding, recurrent, *head = parameters
    return [embedding, *itertools.chain(*recurrent), *head]


def agree(ours, theirs, tolerance=1e-12):
    theirs = [np.asarray(array) for array in theirs]
    errors = [ref.relative_error(a, b) for a, b in zip(ours, theirs, strict=True)]
    assert max(errors) <= tolerance, errors


def check_layer_gradients(kind, mask, rng):
    """The gradients of a layer's weights, inputs and states against finite differences."""
    layer = Layer(kind, rng)
    while nearest_bend([cache := layer.forward(mask)[-1]]) < 1e-4:
        layer = Layer(kind, rng)
    if kind == "capped lstm":
        assert 0.1 < np.mean(excess(cache) > 0) < 0.9, "one side of the cap only"
    gradients, d_x, d_states = layer.backward(mask)
    arrays = [*layer.weights, layer.x, *layer.states]
    for array, gradient in zip(arrays, [*gradients, d_x, *d_states], strict=True):
        check_gradient(lambda: layer.loss(mask), array, gradient)


def check_optimizer_against_keras(optimizer, arguments, rng):
    theirs = KERAS_OPTIMIZERS[optimizer](**arguments)
    parameter, state = rng.normal(size=(D, H)), None
    variable = keras.Variable(parameter, dtype="float64")
    for _ in range(20):
        gradient = rng.normal(size=(D, H))
        parameter, state = optimizer(parameter, gradient, state, **arguments)
        theirs.apply([tf.constant(gradient)], [variable])
    agree([parameter], [variable])
