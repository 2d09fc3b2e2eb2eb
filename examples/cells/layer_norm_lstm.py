r"""An LSTM with normalized pre-activations and cell state: Ba, Kiros & Hinton (2016), Layer normalization, eq. 20-22.

$$ (z_i, z_f, z_g, z_o) = \mathrm{LN}(x_t W; \alpha_x) + \mathrm{LN}(h_{t-1} U; \alpha_h) + b $$
$$ c_t = \sigma(z_f) \odot c_{t-1} + \sigma(z_i) \odot \tanh(z_g), \quad
   h_t = \sigma(z_o) \odot \tanh(\mathrm{LN}(c_t; \alpha_c) + \beta_c), \quad
   \mathrm{LN}(z; \alpha) = \alpha \odot (z - \mathrm{mean}(z)) / \sqrt{\mathrm{var}(z) + 10^{-5}} $$
"""

import keras
import tensorflow as tf

import tfcharlm


def normalized(z):
    z -= tf.reduce_mean(z, axis=0, keepdims=True)
    return z * tf.math.rsqrt(tf.reduce_mean(z * z, axis=0, keepdims=True) + 1e-5)


@keras.saving.register_keras_serializable("examples")
class LayerNormLSTMCell(tfcharlm.RecurrentCell):
    num_blocks, state_names, separate = 4, ("h", "c"), True

    def __init__(self, units, **options):
        super().__init__(units, **options | {"use_bias": False})

    @property
    def parameters(self):
        gains = {
            name: tfcharlm.Parameter((size * self.units,), "ones") for name, size in (("x", 4), ("h", 4), ("c", 1))
        }
        return gains | {"b": tfcharlm.Parameter((4 * self.units,)), "b_c": tfcharlm.Parameter((self.units,))}

    def step(self, z, states, parameters):
        (x, h), p = (normalized(blocks.stacked) for blocks in z), parameters
        z_i, z_f, z_g, z_o = tf.split(p["x"] * x + p["h"] * h + p["b"], 4, axis=0)
        c = tf.sigmoid(z_f) * states["c"] + tf.sigmoid(z_i) * tf.tanh(z_g)
        return {"h": tf.sigmoid(z_o) * tf.tanh(p["c"] * normalized(c) + p["b_c"]), "c": c}
