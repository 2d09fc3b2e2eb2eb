"""Cells as somebody else would write them, without anything of this package."""

import keras
from keras import ops

UNITS = 4


@keras.saving.register_keras_serializable(package="others_cells")
class Leaky(keras.layers.Layer):
    """Somebody's cell with one state: h moves towards tanh(x W + h U) at a rate that is an argument."""

    def __init__(self, units, rate=0.5, **kwargs):
        super().__init__(**kwargs)
        self.units, self.rate = units, rate
        self.state_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")
        self.recurrent_kernel = self.add_weight(shape=(self.units, self.units), name="recurrent_kernel")

    def call(self, inputs, states):
        h = self.next_state(inputs, states[0])
        return h, [h]

    def next_state(self, inputs, h):
        new = ops.tanh(ops.matmul(inputs, self.kernel) + ops.matmul(h, self.recurrent_kernel))
        return (1 - self.rate) * h + self.rate * new

    def get_config(self):
        return {**super().get_config(), "units": self.units, "rate": self.rate}


class TwoStates(keras.layers.Layer):
    """Somebody's cell with states of two sizes, not registered, without get_config, which Keras then writes."""

    def __init__(self, units, extra, **kwargs):
        super().__init__(**kwargs)
        self.units, self.extra = units, extra
        self.state_size, self.output_size = [units, extra], units

    def build(self, input_shape):
        size = input_shape[-1] + self.units + self.extra
        self.kernel = self.add_weight(shape=(size, self.units + self.extra), name="kernel")

    def call(self, inputs, states, training=None):
        z = ops.tanh(ops.matmul(ops.concatenate([inputs, *states], axis=-1), self.kernel))
        a, b = z[:, : self.units], z[:, self.units :]
        return a, [a, b + 0.5 * states[1]]


def built(cell, input_dim=3):
    cell.build((None, input_dim))
    return cell
