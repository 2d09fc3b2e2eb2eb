"""The baseline that only counts, `tfcharlm.analysis.KneserNey`, by the protocols of the other models."""

import time

import numpy as np

from tfcharlm.analysis import KneserNey, kneser_ney_losses

ORDERS = range(4, 10)


def best_order(documents, held_out, size):
    """The order whose model of the documents has the lowest loss on held-out documents."""
    losses = kneser_ney_losses(documents, held_out, size, ORDERS)
    return min(losses, key=losses.get)


def count_text(training, validation, window):
    """Both losses on a text: with a carried state ("stream"), and in windows ("cold").

    The order is the best one for the last twentieth of the training text.
    """
    began = time.perf_counter()
    (ids, validation), size = _encoded([training, validation])
    border = len(ids) * 19 // 20
    model = KneserNey([ids], best_order([ids[:border]], [ids[border:]], size), size)
    windows = [validation[begin : begin + window + 1] for begin in range(0, len(validation) - 1, window)]
    losses = {"stream": model.loss([validation]), "cold": model.loss(windows)}
    return {**losses, "order": model.order, "seconds": time.perf_counter() - began}


def count_names(training, held_out):
    """The loss on names, each from newline to newline.

    The order is the best one for the last twentieth of the training names.
    """
    began = time.perf_counter()
    documents, size = _encoded([f"\n{name}\n" for name in [*training, *held_out]])
    training, held_out = documents[: len(training)], documents[len(training) :]
    border = len(training) * 19 // 20
    model = KneserNey(training, best_order(training[:border], training[border:], size), size)
    return {"loss": model.loss(held_out), "order": model.order, "seconds": time.perf_counter() - began}


def _encoded(texts):
    """(an array of integers for each text, the number of different characters)."""
    alphabet = sorted(set("".join(texts)))
    number = {character: i for i, character in enumerate(alphabet)}
    return [np.array([number[character] for character in text]) for text in texts], len(alphabet)
