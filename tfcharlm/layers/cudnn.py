"""LSTM and GRU through cuDNN, where TensorFlow has a GPU: Keras's own layers, called on the arrays of our cells.

On a GPU a loop of small operations takes 5 to 25 times as long as cuDNN, because each starts a kernel of its own. No
operation of cuDNN gets into a graph that is saved or compiled by XLA.
"""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfcharlm import kernels

# The layers of Keras that compute the same. Other activations, and a capped gate, are other recurrences.
SAME_LAYERS = {kernels.LSTM: keras.layers.LSTM, kernels.GRU: keras.layers.GRU}
# TFCHARLM_CUDNN=0 turns it off; 1 takes these layers without a GPU, too, where they compute with Keras's loop.
SETTING = "TFCHARLM_CUDNN"


def why_not_cudnn(recurrence: kernels.Recurrence, dtype: str) -> str | None:
    """Why a recurrence does not run through cuDNN here and now, in one line; None if it does.

    Example:

    >>> from tfcharlm import kernels
    >>> from tfcharlm.layers.cudnn import why_not_cudnn
    >>> why_not_cudnn(kernels.RNN, "float32")
    'cuDNN has no layer that computes the same'
    """
    setting = os.environ.get(SETTING)
    if recurrence not in SAME_LAYERS:
        return "cuDNN has no layer that computes the same"
    if setting == "0":
        return f"cuDNN is off: {SETTING}=0"
    if setting != "1" and not tf.config.get_visible_devices("GPU"):
        return "TensorFlow has no GPU"
    if dtype != "float32":
        # In float16 it would round the states in every step.
        return f"cuDNN is used for float32, and the layer computes in {dtype}"
    return kernels.why_portable()


def run_same_layer(
    recurrence: kernels.Recurrence,
    weights: kernels.Weights,
    inputs: tf.Tensor,
    states: Sequence[tf.Tensor],
    mask: tf.Tensor | None,
    otherwise: Callable[[], tuple[tf.Tensor, Any]],
) -> tuple[tf.Tensor, Any]:
    """Runs a recurrence over a batch of sequences, with the layer of Keras that computes the same.

    Args:
        recurrence, weights, inputs, states, mask: as `kernels.run_recurrence` takes them; inputs are vectors.
        otherwise: computes the same without cuDNN, which only knows padding on the right, and no empty rows. It is
            called if the mask is another one.

    Returns:
        What `kernels.run_recurrence` returns.
    """
    kernel, recurrent_kernel, bias, _ = weights
    layer = _layer(SAME_LAYERS[recurrence], recurrent_kernel.shape[0], kernel.shape[0])
    if bias is None:
        bias = tf.zeros(layer.cell.bias.shape, kernel.dtype)

    def run():
        result, _ = layer.stateless_call(
            [kernel, recurrent_kernel, bias],
            [variable.value for variable in layer.non_trainable_variables],
            inputs,
            initial_state=list(states),
            mask=mask,
            training=True,
        )
        outputs, *final_states = result
        if mask is not None:
            # After the end of a sequence cuDNN gives zeros, and our kernels the last output.
            outputs = tf.where(mask[..., None], outputs, final_states[0][:, None])
        return outputs, tuple(final_states)

    if mask is None:
        return run()
    is_padding = tf.reduce_all(mask[:, 0]) & tf.reduce_all(mask[:, :-1] | ~mask[:, 1:])
    return tf.cond(is_padding, run, otherwise)


@functools.lru_cache(maxsize=16)
def _layer(kind, units, input_dim):
    """A layer whose own weights are never used: its call gets those of the cell."""
    with tf.init_scope(), tf.device("CPU:0"):
        layer = kind(
            units,
            return_sequences=True,
            return_state=True,
            kernel_initializer="zeros",
            recurrent_initializer="zeros",
            dtype="float32",
            name=f"cudnn_{kind.__name__.lower()}_{units}",
        )
        layer.build((None, None, input_dim))
    return layer
