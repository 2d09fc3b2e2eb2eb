"""The model and the optimizer of a configuration."""

import dataclasses
from collections import Counter

import keras
import numpy as np
from helpers.barnyard import SPLIT, TEXT

from tfcharlm.text import TextSplit
from tfcharlm.training import TrainingConfig, TrainingRun, build_model


def test_the_softmax_starts_from_the_frequencies_of_what_is_trained_on():
    split = TextSplit.from_text(TEXT, validation_fraction=0.3)
    model = build_model(split, TrainingConfig(steps=1, units=8))
    counts = Counter(split.vocabulary.decode(split.train_ids))
    expected = [(counts[token] + 1) / (counts.total() + len(split.vocabulary)) for token in split.vocabulary.tokens]
    np.testing.assert_allclose(keras.ops.softmax(model.head.bias), expected, rtol=1e-5)


def test_weight_decay_is_of_matrices_alone():
    """One update with it and one without: the difference is the decay, times the learning rate."""
    parts = {"cell": "rnn", "units": 8, "batch_size": 4, "sequence_length": 16}
    config = TrainingConfig(steps=1, **parts, weight_decay=0.5, learning_rate=0.01)
    after = []
    for decay in (0.0, 0.5):
        run = TrainingRun(SPLIT, dataclasses.replace(config, weight_decay=decay))
        before = run.model.get_weights()
        # One step does not need a graph.
        run.model.compile(run.model.optimizer, run_eagerly=True)
        run.model.fit(run.train_data, steps_per_epoch=1, verbose=0)
        after.append(run.model.get_weights())
    for variable, start, plain, decayed in zip(run.model.variables, before, *after, strict=True):
        lost = 0 if variable.name == "bias" else 0.5 * 0.01
        np.testing.assert_allclose(decayed - plain, -lost * start, atol=5e-7)
