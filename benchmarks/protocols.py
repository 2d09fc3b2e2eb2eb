"""The losses of a model on a text that it has not seen, by both protocols, and on names.

Nats per character, every character but the first of a text, which is only read.
"""

import numpy as np

WINDOW = 256


def score_text(model, text):
    """The losses of both protocols, each of all characters of the text but the first, which is only read."""
    ids = model.vocabulary.encode(text)
    return {"stream": evaluate_stream(model, ids), "cold": evaluate_cold(model, ids)}


def score_names(model, names):
    """The loss of every character and of the newline that ends a name, each from a fresh state after a newline."""
    scores = model.score([f"{name}\n" for name in names])
    return {"loss": float(-scores["log_probability"].sum() / scores["tokens"].sum())}


def evaluate_stream(model, ids, chunk=2_000):
    """One pass over a text from a zero state, which is carried on; the chunk is only what is read at once."""
    losses, states = _losses_of(model), model.initial_state(1)
    total = 0.0
    for begin in range(0, len(ids) - 1, chunk):
        window = ids[None, begin : begin + chunk + 1]
        nats, states = losses(window[:, :-1], window[:, 1:], states)
        total += float(nats)
    return total / (len(ids) - 1)


def evaluate_cold(model, ids, window=WINDOW, rows=64):
    """Windows of so many characters, each from a zero state; the last one is shorter."""
    losses, total = _losses_of(model), 0.0
    targets = len(ids) - 1
    whole = targets // window
    begins = window * np.arange(whole)
    batches = [begins[i : i + rows, None] + np.arange(window) for i in range(0, whole, rows)]
    if whole * window < targets:
        batches.append(np.arange(whole * window, targets)[None])
    for places in batches:
        nats, _ = losses(ids[places], ids[places + 1], model.initial_state(len(places)))
        total += float(nats)
    return total / targets


def _losses_of(model):
    import tensorflow as tf

    @tf.function
    def losses(tokens, targets, states):
        """The sum over all targets, and the states after them."""
        logits, states = model.step(tokens, states)
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
        return tf.reduce_sum(tf.cast(nats, tf.float64)), states

    return lambda tokens, targets, states: losses(tf.constant(tokens), tf.constant(targets), states)
