r"""An LSTM whose gates see the cell state: Gers & Schmidhuber (2000), Recurrent nets that time and count.

$$ i = \sigma(z_i + p_i \odot c_{t-1}), \quad f = \sigma(z_f + p_f \odot c_{t-1}), \quad
   c_t = f \odot c_{t-1} + i \odot \tanh(z_g), \quad o = \sigma(z_o + p_o \odot c_t), \quad h_t = o \odot \tanh(c_t) $$
"""

import keras
import tensorflow as tf

import tfcharlm


@keras.saving.register_keras_serializable("examples")
class PeepholeLSTMCell(tfcharlm.RecurrentCell):
    num_blocks, state_names, gate_names, elementwise = 4, ("h", "c"), ("i", "f", "o"), True

    @property
    def parameters(self):
        return dict.fromkeys(("p_i", "p_f", "p_o"), tfcharlm.Parameter((self.units,)))

    def step(self, z, states, parameters):
        (z_i, z_f, z_g, z_o), c, p = z, states["c"], parameters
        i, f = tf.sigmoid(z_i + p["p_i"] * c), tf.sigmoid(z_f + p["p_f"] * c)
        c = f * c + i * tf.tanh(z_g)
        o = tf.sigmoid(z_o + p["p_o"] * c)
        return {"h": o * tf.tanh(c), "c": c, "i": i, "f": f, "o": o}
