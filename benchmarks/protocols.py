"""The losses of a model on an unseen text, by three protocols, and on names.

They are in nats per character, for every character of a text but the first, which is only read. With a carried state
("stream"), the text is one sequence. In windows ("cold"), every window starts from a zero state. A model that learns
while it reads ("adaptive") reads the text as one sequence, too, and scores its first character as the start of a line.
"""

import numpy as np

WINDOW = 256


def score_text(model, text):
    """The losses by all protocols."""
    ids, adaptive = model.vocabulary.encode(text), model.score(text, adapt=True)
    losses = {"stream": evaluate_stream(model, ids), "cold": evaluate_cold(model, ids)}
    return losses | {"adaptive": -adaptive["log_probability"] / adaptive["tokens"]}


def score_names(model, names):
    """The loss on names, including the newline that ends each. A name is read from a zero state, after a newline."""
    scores = model.score([f"{name}\n" for name in names])
    return {"loss": float(-scores["log_probability"].sum() / scores["tokens"].sum())}


def evaluate_stream(model, ids, chunk=2_000):
    """Reads a text once, from a zero state that is carried along. The chunk is only how much is read at once."""
    losses, states = _losses_of(model), model.initial_state(1)
    total = 0.0
    for begin in range(0, len(ids) - 1, chunk):
        window = ids[None, begin : begin + chunk + 1]
        nats, states = losses(window[:, :-1], window[:, 1:], states)
        total += float(nats)
    return total / (len(ids) - 1)


def evaluate_cold(model, ids, window=WINDOW, rows=64):
    """Reads windows of `window` characters, each from a zero state. The last window may be shorter."""
    losses, total = _losses_of(model), 0.0
    targets = len(ids) - 1
    whole = targets // window
    starts = window * np.arange(whole)
    batches = [starts[i : i + rows, None] + np.arange(window) for i in range(0, whole, rows)]
    if whole * window < targets:
        batches.append(np.arange(whole * window, targets)[None])
    for positions in batches:
        nats, _ = losses(ids[positions], ids[positions + 1], model.initial_state(len(positions)))
        total += float(nats)
    return total / targets


def _losses_of(model):
    import tensorflow as tf

    @tf.function
    def losses(tokens, targets, states):
        """The sum of the losses of all targets, and the states after them."""
        logits, states = model.step(tokens, states)
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
        return tf.reduce_sum(tf.cast(nats, tf.float64)), states

    return lambda tokens, targets, states: losses(tf.constant(tokens), tf.constant(targets), states)
