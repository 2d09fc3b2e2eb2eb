r"""A recurrent unit with a single gate: Zhou et al. (2016), Minimal gated unit for recurrent neural networks.

$$ f = \sigma(x_f + h_f), \quad g = \tanh(x_g + (f \odot h_{t-1}) U_g), \quad h_t = (1 - f) \odot h_{t-1} + f \odot g $$
"""

import keras
import tensorflow as tf

import tfcharlm


@keras.saving.register_keras_serializable("examples")
class MinimalGatedCell(tfcharlm.RecurrentCell):
    num_blocks, num_recurrent_blocks, separate, gate_names = 2, 1, True, ("f",)

    @property
    def parameters(self):
        return {"candidate_kernel": tfcharlm.Parameter((self.units, self.units), "orthogonal")}

    def step(self, z, states, parameters):
        ((x_f, x_g), (h_f,)), h = z, states["h"]
        f = tf.sigmoid(x_f + h_f)
        g = tf.tanh(x_g + tf.matmul(parameters["candidate_kernel"], f * h, transpose_a=True))
        return {"h": h + f * (g - h), "f": f}
