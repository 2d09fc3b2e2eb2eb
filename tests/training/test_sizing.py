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
        assert one["members"] <= other["members"]
        if one["members"] == other["members"]:
            assert one["units"] <= other["units"] and one["weight_drop"] <= other["weight_drop"]
            assert 0.03 >= one["learning_rate"] >= other["learning_rate"]
        else:
            # Each network is smaller, and all together are not.
            assert one["members"] * one["units"] <= other["members"] * other["units"]
    for run in runs:
        config = TrainingConfig(minutes=1, **run)
        assert config.batch_size * config.sequence_length < max(tokens, 5)
        text, longer = (suggest_config(1800, 1e11, length, units=run["units"]) for length in (tokens, 10 * tokens))
        assert longer["units"] == run["units"] and longer["weight_drop"] <= text["weight_drop"]
    assert set(runs[0]) == set(SUGGESTED)


def test_more_weights_to_multiply_mean_fewer_epochs():
    """Of words, of several layers, of an RNN: what is counted are the model's own matrices."""
    cases = [("lstm", 1, 65, False, 1), ("rnn", 2, 65, False, 3), ("lstm", 3, 5000, True, 1), ("lstm", 2, 65, True, 2)]
    for cell, layers, size, skip, members in cases:
        cells = [CELLS[cell](24) for _ in range(layers * members)]
        wiring = {"skip_connections": skip, "members": members}
        model = CharLM(Vocabulary([chr(300 + i) for i in range(size)]), cells, 16, **wiring)
        matrices = sum(w.shape[0] * w.shape[1] for w in model.weights[1:] if len(w.shape) == 2)
        shape = {"cell": cell, "layers": layers, "embedding_dim": 16, **wiring}
        assert _multiplied(24, size, **shape) == matrices
        share = suggest_config(112, 1e9, 10**5, size, units=24, **shape)["weight_drop"]
        smallness_of_network = min(1, matrices / members / 10**5 / 1.5)
        expected = np.clip(smallness_of_network * np.log2(100 * 1e9 / 6 / matrices / 10**5 / 6) / 10, 0, 0.5)
        assert share == pytest.approx(expected, abs=0.0051)


def test_a_text_teaches_by_its_characters():
    """Tokens of several characters allow for a larger model, whose head they make larger as well."""
    letters, words = (
        suggest_config(10**5, 1e11, **sizes, members=1)["units"] for sizes in ({"tokens": 10**6}, {"tokens": 2 * 10**5})
    )
    assert words < letters == suggest_config(10**5, 1e11, 2 * 10**5, characters=10**6, members=1)["units"]
    assert suggest_config(10**5, 1e11, 2 * 10**5, 16_000, characters=10**6, members=1)["units"] < letters


# (minutes, tokens, characters): (networks, units, dropout, weight drop, learning rate, rows), written down when several
# networks were chosen for the first time.
LARGER = {
    (10, 100_000, None): (3, 160, 0.25, 0.5, 0.03, 32),
    (10, 150_000, None): (3, 224, 0.205, 0.41, 0.0257, 64),
    (1, 200_000, None): (2, 160, 0.04, 0.08, 0.03, 64),
    (10, 200_000, None): (3, 256, 0.17, 0.34, 0.024, 64),
    (300, 200_000, None): (3, 256, 0.25, 0.5, 0.024, 64),
    (1, 10**6, None): (1, 224, 0.0, 0.0, 0.0257, 64),
    (10, 10**6, None): (2, 320, 0.02, 0.04, 0.0215, 64),
    (300, 10**6, None): (3, 608, 0.185, 0.37, 0.0156, 64),
    (10, 2 * 10**5, 10**6): (1, 480, 0.165, 0.33, 0.0088, 64),
    (300, 10**6, 4 * 10**6): (1, 1152, 0.175, 0.35, 0.0057, 64),
    (300, 10**8, None): (1, 1152, 0.0, 0.0, 0.0113, 64),
}


@pytest.mark.parametrize("size", LARGER)
def test_larger_texts_get_what_they_got(size):
    minutes, tokens, characters = size
    chosen = suggest_config(60 * minutes, 1.3e11, tokens, characters=characters)
    names = ("members", "units", "dropout", "weight_drop", "learning_rate", "batch_size")
    assert tuple(chosen[name] for name in names) == LARGER[size]


def test_a_small_text_gets_a_wider_layer_and_more_dropout():
    """Up to 60,000 characters; from there to 90,000 it falls to what larger texts get."""
    chosen = suggest_config(60, 1.3e11, 18_000)
    assert (chosen["units"], chosen["dropout"], chosen["weight_drop"]) == (128, 0.5, 0.5)
    parameters, ratios = [], []
    for characters in (1_000, 30_000, 60_000, 66_000, 75_000, 87_000, 90_000, 10**6):
        chosen = suggest_config(10**5, 1e12, characters, members=1)
        units = chosen["units"]
        parameters.append((4 * units * (64 + units) + 65 * units) / characters)
        ratios.append(chosen["dropout"] / chosen["weight_drop"])
    assert ratios[:3] == [1, 1, 1] and ratios[-2:] == [0.5, 0.5]
    assert ratios == sorted(ratios, reverse=True) and len(set(ratios)) == 5
    # Widths are multiples of 32, so the number of parameters is met roughly; the smallest width is more than enough.
    expected = [6, 6, *(6 * (2.5 / 6) ** (np.log([1.1, 1.25, 1.45]) / np.log(1.5))), 2.5, 2.5]
    np.testing.assert_allclose(parameters[1:], expected, rtol=0.2)


@pytest.mark.parametrize(("tokens", "characters"), [(18_000, None), (180_000, None), (10**6, None), (10**5, 10**6)])
def test_weight_decay_grows_with_the_epochs(tokens, characters):
    decays = [
        suggest_config(seconds, 1e11, tokens, characters=characters)["weight_decay"] for seconds in (20, 60, 300, 10**5)
    ]
    assert decays == sorted(decays) and decays[0] >= 0.1
    # Small texts gain nothing by it.
    assert decays[-1] == (0.1 if tokens == 18_000 else 0.3)


def test_a_large_alphabet_gets_longer_vectors_with_dropout_and_more_decay():
    letters, kanji = (suggest_config(300, 1e11, 10**5, size) for size in (512, 513))
    assert (letters["embedding_dim"], letters["input_dropout"], letters["weight_decay"]) == (64, 0, 0.3)
    assert (kanji["embedding_dim"], kanji["weight_decay"]) == (128, 0.5)
    assert 0.2 < kanji["input_dropout"] == pytest.approx(kanji["weight_drop"] / 2)
    once = suggest_config(60, 1e11, 10**8, 4000)
    assert (once["embedding_dim"], once["input_dropout"], once["weight_decay"]) == (128, 0, 0.1)
    # The vectors count, and a given length is kept.
    assert suggest_config(60, 1e11, 10**8, 4000, embedding_dim=32)["embedding_dim"] == 32


def test_the_speed_of_a_machine_counts_the_products_of_all_cores(monkeypatch):
    """By a clock on which the products take a quarter of a second, and once an eighth."""
    ticks = itertools.chain([0, 0.25, 1, 1.125], itertools.count(2, 0.25))
    clock = types.SimpleNamespace(monotonic=itertools.count().__next__, perf_counter=ticks.__next__)
    monkeypatch.setattr("tfcharlm.training.sizing.time", clock)
    monkeypatch.setattr("tfcharlm.training.sizing.tf.config.threading.get_inter_op_parallelism_threads", lambda: 3)
    assert measured_speed(seconds=5) == pytest.approx(3 * 2 * 512**3 / 0.125)
