"""A run: what it trains on, its schedule, its reports."""

import dataclasses
import itertools
import re
import types
from collections import Counter

import keras
import numpy as np
import pytest

from tfcharlm import CharLM, RNNCell
from tfcharlm.training.evaluation import AnnealLearningRate, Budget, learning_rate_at, averaged_weights
from tfcharlm.training.config import CELLS, Corpus, TrainingConfig, make_model
from tfcharlm.training.sizing import SUGGESTED, _multiplied, measured_speed, suited
from tfcharlm.text import Vocabulary, load_corpus
from tfcharlm.training.run import TrainingRun

TEXT = "the cat said why to the cow\nan old dog said no\n" * 40


def test_held_out_text_is_never_trained_on():
    """Two texts that differ in their last tenth only give the same weights."""
    other = TEXT[: -(len(TEXT) // 10)] + TEXT[: len(TEXT) // 10][::-1]
    config = TrainingConfig(epochs=1, units=8, batch_size=4, sequence_length=16)
    weights = []
    for text in (TEXT, other):
        run = TrainingRun(text, config)
        run.model.fit(run.train_data, verbose=0)
        weights.append(run.model.get_weights())
    assert Vocabulary.from_text(TEXT) == Vocabulary.from_text(other)
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_schedule_is_fitted_to_the_minutes(monkeypatch):
    """By a clock that goes on by 50 ms whenever somebody looks at it."""
    clock = itertools.count(1000.0, 0.05)
    monkeypatch.setattr("tfcharlm.model.replicas.time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    config = TrainingConfig(minutes=0.5, units=8, batch_size=4, sequence_length=16)
    history = TrainingRun(TEXT, config).train().history
    assert [round(report.seconds / 10, 1) for report in history] == [1, 2, 3]
    expected = [learning_rate_at(config.learning_rate, report.seconds / 30) for report in history]
    actual = [report.learning_rate for report in history]
    np.testing.assert_allclose(actual, expected, atol=0.02 * config.learning_rate)


def test_annealing():
    rates = [learning_rate_at(1.0, spent) for spent in np.linspace(0, 1, 101)]
    assert rates[0] == 0 and rates[-1] < 1e-12 and max(rates) > 0.99
    assert all(np.diff(rates[2:]) <= 0), "after the warm-up it only falls"


@pytest.mark.parametrize(("schedule", "half"), [("cosine", 0.5), ("linear", 0.5), ("constant", 1.0)])
def test_schedules(schedule, half):
    rates = [learning_rate_at(2.0, spent, schedule) for spent in np.linspace(0, 1, 101)]
    assert rates[0] == 0 and rates[50] == pytest.approx(2 * half) and max(rates) > 1.95
    assert rates[-1] == pytest.approx(0 if half < 1 else 2) and all(np.diff(rates[2:]) <= 0)


def test_a_budget_of_steps():
    """It does not end with the text, and every part of the configuration reaches the model."""
    parts = {"units": 7, "layers": 2, "embedding_dim": 5, "dropout": 0.25, "schedule": "linear", "clip_norm": 0.5}
    parts |= {"input_dropout": 0.125, "weight_drop": 0.375, "skip_connections": True, "state_reset_probability": 0.03125}
    parts |= {"unigram_output_bias": False, "random_start": False}
    config = TrainingConfig(steps=80, batch_size=4, sequence_length=16, cell="rnn", learning_rate=0.003, **parts)
    run = TrainingRun(TEXT, config)
    assert not np.any(run.model.head.bias) and not run.train_data.source.description()["random_start"]
    result = run.train()
    assert result.steps == 80 and result.history[-1].step == 80 and len(result.history) == 12
    assert [report.learning_rate for report in result.history] == pytest.approx(
        [learning_rate_at(0.003, (report.step - 1) / 80, "linear") for report in result.history], rel=1e-5
    )
    model = result.model
    assert [type(layer.cell).__name__ for layer in model.recurrent] == ["RNNCell", "RNNCell"]
    assert model.weights[0].shape[1] == 5 and model.recurrent[1].cell.units == 7
    assert (
        model.dropout.rates == {"dropout": 0.25, "input_dropout": 0.125, "weight_drop": 0.375}
        and model.dropout.counter.numpy() == 80
    )
    assert model.optimizer.global_clipnorm == 0.5 and model.skip_connections


def test_the_softmax_starts_from_the_frequencies_of_what_is_trained_on():
    corpus = Corpus.split(TEXT, validation_fraction=0.3)
    model = make_model(corpus, TrainingConfig(steps=1, units=8))
    counts = Counter(corpus.vocabulary.decode(corpus.train_ids))
    expected = [(counts[token] + 1) / (counts.total() + len(corpus.vocabulary)) for token in corpus.vocabulary.tokens]
    np.testing.assert_allclose(keras.ops.softmax(model.head.bias), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (
            {"minutes": 1, "steps": 5},
            "give one of minutes, epochs or steps, .* received minutes=1, steps=5",
        ),
        ({}, "such as minutes=2; received none of them"),
        ({"steps": 0}, "steps must be a number above 0"),
        ({"steps": 5, "schedule": "sine"}, "schedule must be one of cosine, linear, constant; received 'sine'"),
        ({"steps": 5, "dropout": 1}, "dropout must be a number from 0 to below 1; received 1"),
        (
            {"steps": 5, "cell": "rnn", "cap_input_gate": True},
            "cap_input_gate is of an LSTM's input gate; received cell='rnn'",
        ),
        ({"steps": 5, "weight_drop": -0.5}, "weight_drop must be a number from 0 to below 1; received -0.5"),
    ],
)
def test_configurations_that_cannot_be(wrong, line):
    with pytest.raises(ValueError, match=line):
        TrainingConfig(**wrong)


def test_averages_of_the_weights_are_evaluated_and_kept():
    """Of a run on reports of its own: the average by hand, and training that does not notice it."""
    config = TrainingConfig(steps=9, units=8, batch_size=4, sequence_length=16, ema_momentum=0.75, learning_rate=0.02)
    runs = [TrainingRun(TEXT, dataclasses.replace(config, ema_momentum=momentum)) for momentum in (0.0, 0.75)]
    seen, measured = [], []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(self.model.get_weights())

    run = runs[1]
    evaluate = run.model.evaluate
    run.model.evaluate = lambda *args, **kw: measured.append(run.model.get_weights()) or evaluate(*args, **kw)
    budget = run.budget()
    reporter, _ = run.fit(budget, callbacks=[Look()], reports=3)
    plain, _ = runs[0].fit(runs[0].budget(), reports=3)
    average = seen[0]
    for number, weights in enumerate(seen, 1):
        average = [0.75 * a + 0.25 * w for a, w in zip(average, weights, strict=True)]
        if number % 3 == 0:
            for actual, expected in zip(measured[number // 3 - 1], average, strict=True):
                np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    reporter.restore_best_weights()
    best = int(np.argmin([report.val_loss for report in reporter.history]))
    for actual, expected in zip(run.model.get_weights(), measured[best], strict=True):
        np.testing.assert_array_equal(actual, expected)
    # The weights that go on are those that were updated, not their average.
    assert [report.loss for report in reporter.history] == [report.loss for report in plain.history]


def test_weight_decay_is_of_matrices_alone():
    parts = {"cell": "rnn", "units": 8, "batch_size": 4, "sequence_length": 16}
    config = TrainingConfig(steps=1, **parts, weight_decay=0.5, learning_rate=0.01)
    after = []
    for decay in (0.0, 0.5):
        run = TrainingRun(TEXT, dataclasses.replace(config, weight_decay=decay))
        before = run.model.get_weights()
        run.fit(run.budget(), reports=1)
        after.append(run.model.get_weights())
    rate = learning_rate_at(0.01, 1e-4)
    for variable, start, plain, decayed in zip(run.model.variables, before, *after, strict=True):
        lost = 0 if variable.name == "bias" else 0.5 * rate
        np.testing.assert_allclose(decayed - plain, -lost * start, atol=5e-7)


def test_reports_do_not_mix_training_with_validation():
    """A model that stands still, on a text whose end is unlike its beginning, has the same training loss throughout."""
    rng = np.random.default_rng(0)
    text = "".join(rng.choice(list("abcdefghij"), size=9000)) + "z" * 1000
    config = TrainingConfig(epochs=1, units=8, batch_size=4, sequence_length=16, learning_rate=1e-9)
    history = TrainingRun(text, config).train().history
    assert all(report.loss == pytest.approx(np.log(10), abs=0.2) for report in history)
    assert all(report.val_loss > 4 for report in history)


@pytest.mark.slow
def test_the_default_recipe_learns_the_plays():
    """One pass over nine tenths of Shakespeare's plays, by steps, so that a slow machine gives the same model."""
    run = TrainingRun(load_corpus("shakespeare"), TrainingConfig(epochs=1))
    result = run.train()
    text = result.model.generate("ROMEO:", max_length=4000, temperature=0.7, seed=1)
    known = set(re.findall(r"[a-z']+", load_corpus("shakespeare").lower()))
    words = re.findall(r"[a-z']+", text.lower())
    print(f"loss {result.val_loss:.4f}, words known {sum(word in known for word in words) / len(words):.3f}")
    assert result.val_loss < 1.6
    assert sum(word in known for word in words) > 0.85 * len(words)


@pytest.mark.parametrize("tokens", [2, 61, 2_000, 228_000, 10**6, 10**9])
def test_what_suits_more_time_or_more_text(tokens):
    """More time: a larger model and more left out, whatever the text; more text: less left out."""
    runs = [suited(seconds, 1e11, tokens) for seconds in (1, 15, 90, 600, 1800, 40_000)]
    for one, other in itertools.pairwise(runs):
        assert one["units"] <= other["units"] and one["weight_drop"] <= other["weight_drop"]
        assert 0.02 >= one["learning_rate"] >= other["learning_rate"]
    for run in runs:
        config = TrainingConfig(minutes=1, **run)
        assert config.batch_size * config.sequence_length < max(tokens, 5)
        text, longer = (suited(1800, 1e11, length, units=run["units"]) for length in (tokens, 10 * tokens))
        assert longer["units"] == run["units"] and longer["weight_drop"] <= text["weight_drop"]
    assert set(runs[0]) == set(SUGGESTED)


def test_more_weights_to_multiply_mean_fewer_passes():
    """Of words, of several layers, of an RNN: what is counted are the model's own matrices."""
    for cell, layers, size, skip in [("lstm", 1, 65, False), ("rnn", 2, 65, False), ("lstm", 3, 5000, True)]:
        cells = [CELLS[cell](24) for _ in range(layers)]
        model = CharLM(Vocabulary([chr(300 + i) for i in range(size)]), cells, 16, skip_connections=skip)
        matrices = sum(w.shape[0] * w.shape[1] for w in model.weights[1:] if len(w.shape) == 2)
        shape = {"cell": cell, "layers": layers, "embedding_dim": 16, "skip_connections": skip}
        assert _multiplied(24, size, **shape) == matrices
        share = suited(112, 1e9, 10**5, size, units=24, **shape)["weight_drop"]
        assert share == pytest.approx(np.clip(np.log2(100 * 1e9 / 6 / matrices / 10**5 / 6) / 10, 0, 0.5), abs=0.0051)


def test_a_text_teaches_by_its_characters():
    """Tokens of several characters allow for a larger model, whose head they make larger as well."""
    letters, words = (suited(10**5, 1e11, **sizes)["units"] for sizes in ({"tokens": 10**6}, {"tokens": 2 * 10**5}))
    assert words < letters == suited(10**5, 1e11, 2 * 10**5, characters=10**6)["units"]
    assert suited(10**5, 1e11, 2 * 10**5, 16_000, characters=10**6)["units"] < letters


def test_the_schedule_begins_after_start_up_and_the_first_step():
    """By the clock of a budget that is half spent after the first step."""
    clock = iter([0.0, 5.0, *np.linspace(5.0, 10.0, 200)])
    budget = Budget(seconds=10, clock=lambda: next(clock))
    anneal = AnnealLearningRate(1.0, budget)
    model = CharLM(Vocabulary("ab"), [RNNCell(2)])
    model.compile()
    anneal.set_model(model)
    rates = []
    for batch in range(60):
        anneal.on_train_batch_begin(batch)
        rates.append(float(model.optimizer.learning_rate.numpy()))
        anneal.on_train_batch_end(batch)
    assert rates[0] < 0.01 and max(rates) > 0.99 and int(np.argmax(rates)) < 6
    assert rates[-1] < 0.5 and all(np.diff(rates[6:]) <= 0)


def test_averages_of_no_update_are_no_weights():
    """Every step is skipped: the weights stay, in `fit` and in reports."""
    config = TrainingConfig(steps=3, units=8, batch_size=4, sequence_length=16, ema_momentum=0.75)
    run = TrainingRun(TEXT, config)
    weights = run.model.get_weights()
    weights[0][0] = np.nan
    run.model.set_weights(weights)
    with pytest.warns(UserWarning, match="skipped"):
        run.model.fit(run.train_data, steps_per_epoch=3, verbose=0)
    with averaged_weights(run.model):
        inside = run.model.get_weights()
    for before, during, after in zip(weights, inside, run.model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, during)
        np.testing.assert_array_equal(before, after)


def test_averages_are_kept_of_a_run_that_is_interrupted_before_its_first_report():
    """By hand, from the weights after each of five updates."""
    config = TrainingConfig(steps=500, units=8, batch_size=4, sequence_length=16, ema_momentum=0.75)
    run, seen = TrainingRun(TEXT, config), []

    def look(batch, logs):
        seen.append(run.model.get_weights())
        if len(seen) == 5:
            raise KeyboardInterrupt

    result = run.train(callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=look)])
    assert result.interrupted and not result.history
    average = seen[0]
    for weights in seen[1:]:
        average = [0.75 * a + 0.25 * w for a, w in zip(average, weights, strict=True)]
    for actual, expected in zip(result.model.get_weights(), average, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-7)


def test_the_speed_of_a_machine_counts_the_products_of_all_cores(monkeypatch):
    """By a clock on which the products take a quarter of a second, and once an eighth."""
    ticks = itertools.chain([0, 0.25, 1, 1.125], itertools.count(2, 0.25))
    clock = types.SimpleNamespace(monotonic=itertools.count().__next__, perf_counter=ticks.__next__)
    monkeypatch.setattr("tfcharlm.training.sizing.time", clock)
    monkeypatch.setattr("tfcharlm.training.sizing.tf.config.threading.get_inter_op_parallelism_threads", lambda: 3)
    assert measured_speed(seconds=5) == pytest.approx(3 * 2 * 512**3 / 0.125)
