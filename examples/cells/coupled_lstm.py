r"""An LSTM that forgets as much as it lets in: Greff et al. (2017), LSTM: a search space odyssey.

$$ c_t = f \odot c_{t-1} + (1 - f) \odot \tanh(z_g), \quad h_t = o \odot \tanh(c_t), \quad
   f = \sigma(z_f), \quad o = \sigma(z_o) $$
"""

import keras
import tensorflow as tf

import tfcharlm


@keras.saving.register_keras_serializable("examples")
class CoupledLSTMCell(tfcharlm.RecurrentCell):
    num_blocks, state_names, gate_names, elementwise = 3, ("h", "c"), ("f", "o"), True

    def step(self, z, states, parameters):
        z_f, z_g, z_o = z
        f, o = tf.sigmoid(z_f), tf.sigmoid(z_o)
        c = f * states["c"] + (1 - f) * tf.tanh(z_g)
        return {"h": o * tf.tanh(c), "c": c, "f": f, "o": o}
