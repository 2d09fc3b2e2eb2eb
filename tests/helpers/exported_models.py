"""Models of every kind that an export can hold."""

import keras

import tfcharlm
from helpers.exported_directories import make_model
from tfcharlm.artefact import config_schema

BFLOAT16 = {"dtype": "mixed_bfloat16"}


def keras_cells():
    layers = keras.layers
    return [
        layers.SimpleRNNCell(3, dropout=0.5),
        layers.LSTMCell(4, dropout=0.1, recurrent_dropout=0.3),
        layers.GRUCell(5, recurrent_dropout=0.1),
        layers.GRUCell(2, reset_after=False, use_bias=False),
    ]


MODELS = {
    "char": lambda: make_model(),
    "byte in bfloat16": lambda: make_model(
        [tfcharlm.LSTMCell(5, **BFLOAT16), tfcharlm.RNNCell(7, **BFLOAT16)], "byte", **BFLOAT16
    ),
    "words, Keras's cells": lambda: make_model(keras_cells(), "word"),
    "a stack": lambda: make_model(
        [
            keras.layers.StackedRNNCells([keras.layers.LSTMCell(4, dropout=0.1), tfcharlm.RNNCell(3)]),
            tfcharlm.LSTMCell(2),
        ]
    ),
    "folded embedding": lambda: make_model([tfcharlm.RNNCell(3)], embedding_dim=64),
    "skip connections": lambda: make_model(
        [tfcharlm.LSTMCell(4, cap_input_gate=True), tfcharlm.RNNCell(3)], skip_connections=True, weight_drop=0.25
    ),
}
ALL_MODELS = MODELS | {
    "char, Keras's cells": lambda: make_model(keras_cells()),
    "words": lambda: make_model([tfcharlm.LSTMCell(3)], "word"),
    "byte": lambda: make_model([tfcharlm.RNNCell(3)], "byte"),
    "activations": lambda: make_model([tfcharlm.RNNCell(2, activation=name) for name in config_schema.ACTIVATIONS]),
}
