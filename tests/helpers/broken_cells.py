"""Cells with one fault each, and the check that must find it."""

import random

import keras
import numpy as np
import tensorflow as tf
from keras import ops

import tfcharlm
from helpers.others_cells import UNITS, Leaky, built
from tfcharlm.kernels import Weights


class SwappedGates(tfcharlm.LSTMCell):
    def weight_tensors(self, recurrent_dropout_mask=None):
        swap = lambda a: tf.concat([a[..., UNITS : 2 * UNITS], a[..., :UNITS], a[..., 2 * UNITS :]], axis=-1)  # noqa: E731
        kernel, recurrent_kernel, bias, _ = super().weight_tensors(recurrent_dropout_mask)
        return Weights(swap(kernel), swap(recurrent_kernel), swap(bias))


@tf.custom_gradient
def gate(z, c):
    f, g = tf.sigmoid(z[:, :UNITS]), tf.tanh(z[:, UNITS:])

    def backward(d):
        # The blocks the wrong way round.
        return tf.concat([d * (1 - g * g), d * c * f * (1 - f)], axis=1), d * f

    return f * c + g, backward


class WrongGradient(Leaky):
    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], 2 * self.units), name="kernel")

    def next_state(self, inputs, h):
        return gate(ops.matmul(inputs, self.kernel), h)


class OldState(Leaky):
    def call(self, inputs, states):
        return self.next_state(inputs, states[0]), states


class OldSecondState(tfcharlm.LSTMCell):
    def call(self, inputs, states, training=False):
        output, (h, _) = super().call(inputs, states)
        return output, [h, states[1]]


class NoState(Leaky):
    def next_state(self, inputs, h):
        return super().next_state(inputs, ops.zeros_like(h))


class WrongOutputShape(Leaky):
    def call(self, inputs, states):
        output, states = super().call(inputs, states)
        return output[:, 1:], states


class WrongStateShape(Leaky):
    def call(self, inputs, states):
        output, states = super().call(inputs, states)
        return output, [states[0][:, None]]


class StateTooMany(Leaky):
    def call(self, inputs, states):
        output, states = super().call(inputs, states)
        return output, [*states, output]


class OneRowOnly(Leaky):
    def call(self, inputs, states):
        h = self.next_state(inputs, states[0])[:1]
        return h, [h]


class NoKey(Leaky):
    def get_config(self):
        return {key: value for key, value in super().get_config().items() if key != "rate"}


class WrongKey(Leaky):
    def get_config(self):
        return {**super().get_config(), "rate": 0.5}


class NoJSON(Leaky):
    def get_config(self):
        return {**super().get_config(), "rate": np.float32(self.rate)}


class NoNumber(Leaky):
    """Its argument comes back, but not what the cell has made of it."""

    def __init__(self, units, rate=0.5, **kwargs):
        super().__init__(units, rate, **kwargs)
        self._noise = random.SystemRandom().random()

    def next_state(self, inputs, h):
        return super().next_state(inputs, h) * self._noise


class NoKeywords(Leaky):
    def __init__(self, units):
        super().__init__(units)

    def get_config(self):
        return {key: value for key, value in super().get_config().items() if key != "rate"}


class FailsToBuild(Leaky):
    def build(self, input_shape):
        raise RuntimeError("no weights today")


class ConstantWeight(Leaky):
    def build(self, input_shape):
        super().build(input_shape)
        self.constant = ops.convert_to_numpy(self.recurrent_kernel)

    def next_state(self, inputs, h):
        return ops.tanh(ops.matmul(inputs, self.kernel) + ops.matmul(h, ops.cast(self.constant, h.dtype)))


class CachedWeight(Leaky):
    """It reads its weights at the first call, which is eager here."""

    cache = None

    def next_state(self, inputs, h):
        if self.cache is None:
            self.cache = tf.identity(self.kernel), tf.identity(self.recurrent_kernel)
        kernel, recurrent_kernel = self.cache
        return 0.5 * h + ops.tanh(ops.matmul(inputs, kernel) + ops.matmul(h, recurrent_kernel))


class HiddenState(Leaky):
    """A clock that nobody hands over."""

    def build(self, input_shape):
        super().build(input_shape)
        self.clock = self.add_weight(shape=(), initializer="zeros", name="clock", trainable=False)

    def next_state(self, inputs, h):
        self.clock.assign_add(1.0)
        return super().next_state(inputs, h) * ops.cast(ops.sin(self.clock), h.dtype)


class ReadsPadding(Leaky):
    """It keeps its last input, which no mask reaches; of three rows, so that a row alone has none."""

    def build(self, input_shape):
        super().build(input_shape)
        self.last = self.add_weight(shape=(3, input_shape[-1]), initializer="zeros", name="last", trainable=False)

    def next_state(self, inputs, h):
        if inputs.shape[0] != 3:
            return super().next_state(inputs, h)
        before = ops.convert_to_tensor(self.last)
        self.last.assign(inputs)
        return super().next_state(inputs + before, h)


class MixedRows(Leaky):
    def next_state(self, inputs, h):
        return super().next_state(inputs - ops.mean(inputs, axis=0, keepdims=True), h)


class CastsOutput(Leaky):
    def next_state(self, inputs, h):
        return ops.cast(super().next_state(inputs, h), "float32")


class CastsInside(Leaky):
    def next_state(self, inputs, h):
        return super().next_state(ops.cast(ops.cast(inputs, "float32"), inputs.dtype), h)


class FixedDtype(Leaky):
    def __init__(self, units, rate=0.5, **kwargs):
        super().__init__(units, rate, **{**kwargs, "dtype": "float32"})


class NarrowInitialState(Leaky):
    def get_initial_state(self, batch_size=None):
        return [ops.zeros((batch_size, self.units), dtype="float32")]


class TwoInitialStates(Leaky):
    def get_initial_state(self, batch_size=None):
        return [ops.zeros((batch_size, self.units), dtype=self.compute_dtype)] * 2


class NoInteger(Leaky):
    output_size = 4.0


class NoSize(Leaky):
    def __init__(self, units, rate=0.5, **kwargs):
        super().__init__(units, rate, **kwargs)
        self.state_size = (None, units)


class UnusedWeight(Leaky):
    def build(self, input_shape):
        super().build(input_shape)
        self.unused = self.add_weight(shape=(2, 3), name="unused")


class StoppedGradient(Leaky):
    def next_state(self, inputs, h):
        new = ops.matmul(inputs, ops.stop_gradient(self.kernel)) + ops.matmul(h, self.recurrent_kernel)
        return ops.tanh(new) + 0.5 * h


class AlwaysDrops(Leaky):
    def __init__(self, units, rate=0.5, dropout=0.25, **kwargs):
        super().__init__(units, rate, **kwargs)
        self.dropout, self.noise = dropout, keras.random.SeedGenerator(1)

    def get_config(self):
        return {**super().get_config(), "dropout": self.dropout}

    def next_state(self, inputs, h):
        return super().next_state(keras.random.dropout(inputs, self.dropout, seed=self.noise), h)


class NeverDrops(AlwaysDrops):
    def call(self, inputs, states, training=False):
        h = Leaky.next_state(self, inputs, states[0])
        return h, [h]


class TracedBatch(Leaky):
    def next_state(self, inputs, h):
        return super().next_state(inputs, h) * (1.0 + float(inputs.shape[0] is None))


class FixedBatch(Leaky):
    def next_state(self, inputs, h):
        return super().next_state(inputs, h) + ops.zeros((inputs.shape[0], self.units), dtype=h.dtype)


FAULTS = {
    SwappedGates: "reference_cell",
    WrongGradient: "gradients",
    OldState: "state returned",
    OldSecondState: "state returned",
    NoState: "state used",
    WrongOutputShape: "call",
    WrongStateShape: "call",
    StateTooMany: "call",
    OneRowOnly: "call",
    NoKey: "config",
    WrongKey: "config",
    NoJSON: "config",
    NoNumber: "rebuilt",
    NoKeywords: "config",
    FailsToBuild: "copy",
    ConstantWeight: "weights read",
    CachedWeight: "weights read",
    HiddenState: "hidden state",
    ReadsPadding: "masks",
    MixedRows: "rows",
    CastsOutput: "dtype",
    CastsInside: "dtype",
    FixedDtype: "copy",
    NarrowInitialState: "initial state",
    TwoInitialStates: "initial state",
    NoInteger: "attributes",
    NoSize: "attributes",
    UnusedWeight: "gradients",
    StoppedGradient: "gradients",
    AlwaysDrops: "training",
    NeverDrops: "training",
    TracedBatch: "graph",
    FixedBatch: "graph",
}


def planted(fault, build=True):
    arguments = {"rate": 0.3} if issubclass(fault, Leaky) and fault is not NoKeywords else {}
    cell = fault(UNITS, **arguments)
    return built(cell) if build and fault is not FailsToBuild else cell
