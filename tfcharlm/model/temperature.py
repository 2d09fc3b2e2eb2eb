"""The temperature of a trained model: how sure it is of what it predicts."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfcharlm.model.batch import token_losses, unpack_batch, weighted_sums
from tfcharlm.model.training_step import StreamModel

# Factors of the logits that are tried. Models of small texts were best at 0.85 to 0.95, larger ones at 0.9 to 1. One of
# surnames, many of which its 20 kB repeat, was best at less than 0.7.
SCALES = (0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1)


def fit_temperature(model: StreamModel, data: tf.data.Dataset) -> float:
    r"""Divides the logits of a model by the temperature that gives the lowest loss.

    $$ p(w) = \mathrm{softmax}(z_w / T) $$

    A model that has read a text many times is too sure of itself on other texts. One number corrects that, without a
    change in what is most likely. It becomes part of the weights of the head: the kernel and the bias are divided by T.

    Args:
        model: a compiled `CharLM` in this process alone; its head is changed, unless it is frozen.
        data: a data set to measure on, as for `evaluate`; not the text that the model was trained on.

    Returns:
        T, from 0.9 to 2.5. The losses at twelve temperatures are measured; T is the lowest point of the parabola
        through the best three. 1 if the head is frozen or a loss is not finite.

    Example:

    >>> import tfcharlm
    >>> from tfcharlm.model import fit_temperature
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("ab\n"), [tfcharlm.RNNCell(3)])
    >>> model.compile()
    >>> _ = model.head.bias.assign([9.0, 0.0, 0.0])                        # too sure of the letter a
    >>> data = tfcharlm.text.stream_dataset([0, 1, 0, 2] * 50, batch_size=2, sequence_length=7)
    >>> round(fit_temperature(model, data), 2)
    2.5

    Reference: Guo et al. (2017), On calibration of modern neural networks, section 4.
    """
    if not model.head.trainable:
        return 1.0
    losses = _losses(model, data)
    if not np.isfinite(losses).all():
        return 1.0
    scale = _lowest(np.array(SCALES), losses)
    for variable in model.head.weights:
        variable.assign(variable * scale)
    return 1 / scale


def _losses(model: Any, data: tf.data.Dataset) -> np.ndarray:
    """The sums of the losses for all scales."""

    def sums(batch):
        (logits, _, _, weights), states = model._forward(batch, training=False)
        model._store_states(states, training=False)
        *_, targets, _ = unpack_batch(batch)
        losses = (token_losses(targets, logits * tf.cast(scale, logits.dtype))[0] for scale in SCALES)
        return weighted_sums(losses, weights)

    # A data set of tuples hands them out as arguments.
    of_batch = tf.function(lambda *batch: sums(batch), input_signature=data.element_spec, autograph=False)
    return np.sum([of_batch(*batch).numpy() for batch in data], axis=0)


def _lowest(scales, losses):
    """Where the parabola through the lowest loss and its neighbors is lowest."""
    best = int(np.argmin(losses))
    if not 0 < best < len(scales) - 1:
        return float(scales[best])
    a, b, _ = np.polyfit(scales[best - 1 : best + 2] - scales[best], losses[best - 1 : best + 2] / losses[best], 2)
    return float(scales[best] - b / (2 * a)) if a > 0 else float(scales[best])
