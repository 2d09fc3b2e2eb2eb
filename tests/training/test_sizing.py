"""The size that is suggested for a time and a text."""

import itertools
import types

import numpy as np
import pytest

from tfcharlm import CharLM
from tfcharlm.layers import CELLS
from tfcharlm.text import Vocabulary
from tfcharlm.training import SUGGESTED, TrainingConfig, measured_speed, suggest_config
from tfcharlm.training.sizing import _multiplied


@pytest.mark.parametrize("tokens", [2, 61, 2_000, 228_000, 10**6, 10**9])
def test_what_suits_more_time_or_more_text(tokens):
    """More time: a larger model and more left out, whatever the text; more text: less left out."""
    runs = [suggest_config(seconds, 1e11, tokens) for seconds in (1, 15, 90, 600, 1800, 40_000)]
    for one, other in itertools.pairwise(runs):
        assert one["units"] <= other["units"] and one["weight_drop"] <= other["weight_drop"]
        assert 0.02 >= one["learning_rate"] >= other["learning_rate"]
    for run in runs:
        config = TrainingConfig(minutes=1, **run)
        assert config.batch_size * config.sequence_length < max(tokens, 5)
        text, longer = (suggest_config(1800, 1e11, length, units=run["units"]) for length in (tokens, 10 * tokens))
        assert longer["units"] == run["units"] and longer["weight_drop"] <= text["weight_drop"]
    assert set(runs[0]) == set(SUGGESTED)


def test_more_weights_to_multiply_mean_fewer_epochs():
    """Of words, of several layers, of an RNN: what is counted are the model's own matrices."""
    for cell, layers, size, skip in [("lstm", 1, 65, False), ("rnn", 2, 65, False), ("lstm", 3, 5000, True)]:
        cells = [CELLS[cell](24) for _ in range(layers)]
        model = CharLM(Vocabulary([chr(300 + i) for i in range(size)]), cells, 16, skip_connections=skip)
        matrices = sum(w.shape[0] * w.shape[1] for w in model.weights[1:] if len(w.shape) == 2)
        shape = {"cell": cell, "layers": layers, "embedding_dim": 16, "skip_connections": skip}
        assert _multiplied(24, size, **shape) == matrices
        share = suggest_config(112, 1e9, 10**5, size, units=24, **shape)["weight_drop"]
        assert share == pytest.approx(np.clip(np.log2(100 * 1e9 / 6 / matrices / 10**5 / 6) / 10, 0, 0.5), abs=0.0051)


def test_a_text_teaches_by_its_characters():
    """Tokens of several characters allow for a larger model, whose head they make larger as well."""
    letters, words = (
        suggest_config(10**5, 1e11, **sizes)["units"] for sizes in ({"tokens": 10**6}, {"tokens": 2 * 10**5})
    )
    assert words < letters == suggest_config(10**5, 1e11, 2 * 10**5, characters=10**6)["units"]
    assert suggest_config(10**5, 1e11, 2 * 10**5, 16_000, characters=10**6)["units"] < letters


def test_the_speed_of_a_machine_counts_the_products_of_all_cores(monkeypatch):
    """By a clock on which the products take a quarter of a second, and once an eighth."""
    ticks = itertools.chain([0, 0.25, 1, 1.125], itertools.count(2, 0.25))
    clock = types.SimpleNamespace(monotonic=itertools.count().__next__, perf_counter=ticks.__next__)
    monkeypatch.setattr("tfcharlm.training.sizing.time", clock)
    monkeypatch.setattr("tfcharlm.training.sizing.tf.config.threading.get_inter_op_parallelism_threads", lambda: 3)
    assert measured_speed(seconds=5) == pytest.approx(3 * 2 * 512**3 / 0.125)
