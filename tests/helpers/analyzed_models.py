"""A model of several layers and the NumPy reference with the same weights, to look into."""

import keras

import tfcharlm
from tfcharlm import reference
from tfcharlm.text import Vocabulary

VOCABULARY = Vocabulary("\n abcdefgh")
TEXT = "a bad\ncabbage had a bed"
LAYERS = [("lstm", 5), ("rnn", 3), ("lstm", 4)]


def make_pair(rng, dtype="float64", vocabulary=VOCABULARY):
    """A model and the reference's parameters with the same numbers."""
    kinds = {"lstm": tfcharlm.LSTMCell, "rnn": tfcharlm.RNNCell}
    cells = [kinds[kind](units, dtype=dtype) for kind, units in LAYERS]
    model = tfcharlm.CharLM(vocabulary, cells, embedding_dim=2, dtype=dtype)
    parameters = reference.random_parameters(rng, len(vocabulary), 2, LAYERS, scale=0.8)
    model.set_weights(keras.tree.flatten(tuple(parameters)))
    return model, parameters
