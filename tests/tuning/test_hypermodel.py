"""CharLMHyperModel: the space, the budget of a trial, and the tuners of Keras Tuner as they are."""

import dataclasses
import itertools
import types

import keras
import keras_tuner
import numpy as np
import pytest
from helpers.barnyard import TEXT
from helpers.trials import SMALL

import tfcharlm
from tfcharlm.text import split_corpus, stream_dataset
from tfcharlm.training import START_UP, TrainingConfig, suggested_options
from tfcharlm.training.search_space import FACTORS
from tfcharlm.tuning import SEARCHED, CharLMHyperModel
from tfcharlm.tuning.hypermodel import VALIDATION_SHAPE

TUNERS = {
    "random": lambda *given, **named: keras_tuner.RandomSearch(*given, max_trials=3, **named),
    "hyperband": lambda *given, **named: keras_tuner.Hyperband(*given, max_epochs=3, factor=3, **named),
    "bayesian": lambda *given, **named: keras_tuner.BayesianOptimization(
        *given, max_trials=4, num_initial_points=2, **named
    ),
    "grid": lambda *given, **named: keras_tuner.GridSearch(*given, **named),
}


# Keras Tuner loads weights into models without an optimizer; and scikit-learn fits a process to very few results.
@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer:UserWarning")
@pytest.mark.filterwarnings("ignore:The optimal value found for dimension:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.slow
@pytest.mark.parametrize("tuner", TUNERS)
def test_the_tuners_of_keras_tuner_as_they_are(tuner, tmp_path):
    """The model that is said to be the best has the loss that is said to be the lowest."""
    hypermodel = CharLMHyperModel(TEXT, steps=12, num_evaluations=3, prune=False, **SMALL | {"units": [3, 5, 8]})
    search = TUNERS[tuner](hypermodel, "val_loss", seed=1, directory=tmp_path)
    search.search(verbose=0)
    trials = list(search.oracle.trials.values())
    assert len(trials) >= 3 and {trial.status for trial in trials} == {"COMPLETED"}, [t.message for t in trials]
    assert {trial.hyperparameters["units"] for trial in trials} <= {3, 5, 8}
    (best,) = search.get_best_models()
    some = stream_dataset(hypermodel.split.validation_ids, **VALIDATION_SHAPE, drop_remainder=False)
    loss = best.evaluate(some, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(min(trial.score for trial in trials), rel=1e-5)


@pytest.mark.slow
def test_a_trial_is_a_run_of_its_configuration():
    """And the same losses again."""
    hypermodel = CharLMHyperModel(TEXT, steps=12, num_evaluations=3, seed=5, **SMALL | {"units": 6})
    hp = keras_tuner.HyperParameters()
    config = hypermodel.config(hp)
    assert config == TrainingConfig(steps=12, seed=5, units=6, **SMALL)
    history = hypermodel.fit(hp, hypermodel.build(hp)).history
    again = hypermodel.fit(hp, hypermodel.build(hp)).history
    assert history["val_loss"] == again["val_loss"] and history["step"] == [4, 8, 12]
    assert history["learning_rate"][-1] < history["learning_rate"][0]


@pytest.mark.slow
def test_a_part_of_the_budget_is_the_same_share_of_everything():
    hypermodel = CharLMHyperModel(TEXT, steps=12, num_evaluations=3, seed=5, **SMALL | {"units": 6})
    hp = keras_tuner.HyperParameters()
    model = hypermodel.build(hp)
    first = hypermodel.fit(hp, model, epochs=1)
    later = hypermodel.fit(hp, model, epochs=3, initial_epoch=1)
    assert (first.epoch, first.history["step"], later.epoch, later.history["step"]) == ([0], [4], [1, 2], [4, 8])
    assert later.history["learning_rate"][-1] < first.history["learning_rate"][-1] * 2


def test_the_space_holds_the_defaults_and_what_the_user_fixes():
    hp = keras_tuner.HyperParameters()
    long = TEXT * 20
    assert CharLMHyperModel(long, steps=5).config(hp) == TrainingConfig(steps=5)
    assert {p.name for p in hp.space} == set(SEARCHED)
    regularized = CharLMHyperModel(long, steps=5, weight_drop=[0.25, 0.5], skip_connections=[True], layers=2)
    config = regularized.config(hp := keras_tuner.HyperParameters())
    assert (config.weight_drop, config.skip_connections) == (0.25, True) and "weight_drop" in hp
    both = CharLMHyperModel(long, steps=5, cap_input_gate=[True, False], cell="lstm")
    assert both.config(keras_tuner.HyperParameters()).cap_input_gate is False, "a boolean, the default"
    hp = keras_tuner.HyperParameters()
    hypermodel = CharLMHyperModel(long, minutes=0.5, level="byte", units=17, learning_rate=[0.5, 0.25], cell=["rnn"])
    config = hypermodel.config(hp)
    assert (config.units, config.learning_rate, config.cell, config.level) == (17, 0.5, "rnn", "byte")
    assert {p.name for p in hp.space if isinstance(p, keras_tuner.engine.hyperparameters.Fixed)} == {"units", "cell"}
    values = [hp.space[i].random_sample(seed) for i in range(len(hp.space)) for seed in range(3)]
    assert all(value is not None for value in values)
    small = CharLMHyperModel(TEXT, steps=5)
    assert max(small.choices["batch_size"]) * max(small.choices["sequence_length"]) < len(small.split.train_ids)


def test_the_space_is_around_what_suits_the_text_and_the_time():
    long, speed = TEXT * 200, 1e10
    hypermodel = CharLMHyperModel(long, minutes=0.5, speed=speed, seed=3, layers=[2], dropout=[0.1, 0.3])
    hp = keras_tuner.HyperParameters()
    first = hypermodel.config(hp)
    suggested = suggested_options(hypermodel.split, {"layers": 2}, 30 + START_UP, speed)
    expected = TrainingConfig(minutes=0.5, seed=3, **suggested | {"layers": 2, "dropout": 0.1})
    assert first == expected
    searched = {p.name for p in hp.space if not isinstance(p, keras_tuner.engine.hyperparameters.Fixed)}
    assert searched == {*FACTORS, "cell", "members", "learning_rate"} and len(hypermodel.choices["units"]) > 2
    assert suggested.keys() <= {p.name for p in hp.space}, "another process may measure another speed"
    rate = next(p for p in hp.space if p.name == "learning_rate")
    assert (rate.min_value, rate.max_value) == pytest.approx((first.learning_rate / 3, first.learning_rate * 3))
    # Every value is one that a run takes.
    for name, values in hypermodel.choices.items():
        for value in values or ():
            dataclasses.replace(first, **{name: value})
    # A text that is too short for other shapes keeps the suggested one.
    short = CharLMHyperModel(TEXT[:220], minutes=0.5, speed=speed)
    hp = keras_tuner.HyperParameters()
    suggested = suggested_options(short.split, {}, 30 + START_UP, speed)
    assert short.config(hp) == TrainingConfig(minutes=0.5, **suggested)
    for rows, length in itertools.product(short.choices["batch_size"], short.choices["sequence_length"]):
        assert rows * length < len(short.split.train_ids)
    for wrong in ({"cell": "ntm"}, {"members": 0}, {"units": -5}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be "):
            CharLMHyperModel(long, minutes=0.5, speed=speed, **wrong)
    assert CharLMHyperModel(long, steps=9, speed=speed).config(keras_tuner.HyperParameters()) == TrainingConfig(steps=9)


def test_a_split_of_items_has_no_shapes_to_search(tmp_path):
    (tmp_path / "names.txt").write_text("".join(f"{first}{last}\n" for first in "abcdefgh" for last in ("nna", "bert")))
    split = split_corpus(tmp_path / "names.txt", lines=True)
    hypermodel = CharLMHyperModel(split, minutes=0.5, speed=1e9, num_evaluations=1, units=4, layers=1)
    assert hypermodel.split is split and "sequence_length" in hypermodel.choices
    assert len(hypermodel.choices["sequence_length"]) == 1, "items are read whole"
    hypermodel = CharLMHyperModel(split, steps=2, num_evaluations=1, units=4, layers=1, batch_size=[4, 4000])
    assert hypermodel.choices["sequence_length"] == [TrainingConfig.sequence_length]
    hp = keras_tuner.HyperParameters()
    history = hypermodel.fit(hp, hypermodel.build(hp)).history
    assert len(history["val_loss"]) == 1 and np.isfinite(history["val_loss"][0])


@pytest.mark.parametrize(
    ("wrong", "error", "line"),
    [
        ({"unit": 5}, TypeError, "a choice must be one of cell, units, .*; received unit"),
        ({"units": [5, 0]}, ValueError, "units must be a whole number from 1 to .* received 0"),
        ({"units": []}, ValueError, r"units must be a value or a list of values; received \[\]"),
        ({"cell": "ntm"}, ValueError, "cell must be one of lstm, gru, rnn; received 'ntm'"),
        ({"minutes": 1}, ValueError, "give either minutes or steps for a trial, .* received minutes=1, steps=5"),
        ({"num_evaluations": 0}, ValueError, "num_evaluations must be a whole number from 1 up; received 0"),
        (
            {"cap_input_gate": [True, False]},
            ValueError,
            "cap_input_gate needs a cell with an input gate, such as lstm; received cell='gru'",
        ),
        ({"batch_size": 2000}, ValueError, "1,691 tokens to train on, too few for batch_size=2000 with .* give"),
    ],
)
def test_what_cannot_be_searched(wrong, error, line):
    with pytest.raises(error, match=line):
        CharLMHyperModel(TEXT, **{"steps": 5} | wrong)


def test_a_diverged_trial_is_worse_than_guessing_and_no_failure():
    hypermodel = CharLMHyperModel(TEXT, steps=6, num_evaluations=2, **SMALL | {"units": 4})
    hp = keras_tuner.HyperParameters()
    model = hypermodel.build(hp)
    model.head.bias.assign(np.full(model.head.bias.shape, np.nan))
    with pytest.warns(UserWarning, match="weight .*head/bias is not finite"):
        history = hypermodel.fit(hp, model).history
    assert history["val_loss"] == [pytest.approx(np.log(len(hypermodel.split.vocabulary)))]


# With steps of one second, too, in the slow tests: the same rule, without its special case.
@pytest.mark.parametrize("seconds_a_step", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_evaluations_cost_nothing_of_a_budget_of_minutes(monkeypatch, seconds_a_step):
    """By a clock that only steps and evaluations move. Steps longer than the time between reports stand for several."""
    clock = types.SimpleNamespace(now=1000.0)
    monkeypatch.setattr("tfcharlm.model.replicas.time", types.SimpleNamespace(monotonic=lambda: clock.now))
    hypermodel = CharLMHyperModel(TEXT, minutes=0.2, num_evaluations=4, prune=False, **SMALL | {"units": 3})
    hp = keras_tuner.HyperParameters()
    model, evaluate = hypermodel.build(hp), tfcharlm.CharLM.evaluate

    class Slow(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            clock.now += seconds_a_step

    def slow_evaluate(*arguments, **named):
        clock.now += 100
        return evaluate(*arguments, **named)

    monkeypatch.setattr(tfcharlm.CharLM, "evaluate", slow_evaluate)
    seen = []
    ends = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    history = hypermodel.fit(hp, model, callbacks=[Slow(), ends]).history
    expected = {1: [4, 7, 10, 13], 4: [2, 3, 4, 4]}[seconds_a_step]
    assert seen == [0, 1, 2, 3]
    assert history["step"] == pytest.approx(expected, abs=1) and history["seconds"][-1] <= 12 + seconds_a_step
