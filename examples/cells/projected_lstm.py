r"""An LSTM with a narrow output (LSTMP): Sak, Senior & Beaufays (2014), Long short-term memory recurrent neural network
architectures for large scale acoustic modeling.

$$ c_t = \sigma(z_f) \odot c_{t-1} + \sigma(z_i) \odot \tanh(z_g), \quad h_t = (\sigma(z_o) \odot \tanh(c_t)) P $$
"""

import keras
import tensorflow as tf

import tfcharlm


@keras.saving.register_keras_serializable("examples")
class ProjectedLSTMCell(tfcharlm.RecurrentCell):
    num_blocks, state_names = 4, ("h", "c")

    def __init__(self, units, output_dim, **options):
        super().__init__(units, **options)
        self.output_dim = output_dim

    @property
    def state_sizes(self):
        return self.output_dim, self.units

    @property
    def parameters(self):
        return {"projection": tfcharlm.Parameter((self.units, self.output_dim), "glorot_uniform")}

    def step(self, z, states, parameters):
        z_i, z_f, z_g, z_o = z
        c = tf.sigmoid(z_f) * states["c"] + tf.sigmoid(z_i) * tf.tanh(z_g)
        h = tf.matmul(parameters["projection"], tf.sigmoid(z_o) * tf.tanh(c), transpose_a=True)
        return {"h": h, "c": c}

    def get_config(self):
        return super().get_config() | {"output_dim": self.output_dim}
