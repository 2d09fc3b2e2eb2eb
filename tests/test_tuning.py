"""Searches: the space, the budget of a trial, pruning, all tuners of Keras Tuner as they are, the command."""

import keras_tuner
import numpy as np
import pytest

from tfcharlm.recipe import TrainingConfig
from tfcharlm.text import stream_dataset
from tfcharlm.tuning import CharLMHyperModel
from tfcharlm.tuning.hypermodel import SEARCHED, VALIDATION_SHAPE
from tfcharlm.tuning.pruning import is_behind

TEXT = "the cat said why to the cow\nan old dog said no\n" * 40
SMALL = {
    "layers": 1, "embedding_dim": 4, "dropout": 0.0, "cell": "rnn", "batch_size": 4, "sequence_length": 16,
    "schedule": "cosine", "clip_norm": 1.0, "learning_rate": 0.01,
}  # fmt: skip
TUNERS = {
    "random": lambda *given, **named: keras_tuner.RandomSearch(*given, max_trials=3, **named),
    "hyperband": lambda *given, **named: keras_tuner.Hyperband(*given, max_epochs=3, factor=3, **named),
    "bayesian": lambda *given, **named: keras_tuner.BayesianOptimization(
        *given, max_trials=4, num_initial_points=2, **named
    ),
    "grid": lambda *given, **named: keras_tuner.GridSearch(*given, **named),
}


@pytest.mark.parametrize(
    "tuner", [name if name == "hyperband" else pytest.param(name, marks=pytest.mark.slow) for name in TUNERS]
)
def test_the_tuners_of_keras_tuner_as_they_are(tuner, tmp_path):
    """The model that is said to be the best has the loss that is said to be the lowest."""
    hypermodel = CharLMHyperModel(TEXT, steps=12, reports=3, prune=False, **SMALL | {"units": [3, 5, 8]})
    search = TUNERS[tuner](hypermodel, "val_loss", seed=1, directory=tmp_path)
    search.search(verbose=0)
    trials = list(search.oracle.trials.values())
    assert len(trials) >= 3 and {trial.status for trial in trials} == {"COMPLETED"}, [t.message for t in trials]
    assert {trial.hyperparameters["units"] for trial in trials} <= {3, 5, 8}
    (best,) = search.get_best_models()
    some = stream_dataset(hypermodel.corpus.validation_ids, **VALIDATION_SHAPE, drop_remainder=False)
    loss = best.evaluate(some, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(min(trial.score for trial in trials), rel=1e-5)


def test_a_trial_is_a_run_of_its_configuration():
    """The same losses as a run by itself; a part of the budget is the same share of everything."""
    hypermodel = CharLMHyperModel(TEXT, steps=12, reports=3, seed=5, **SMALL | {"units": 6})
    hp = keras_tuner.HyperParameters()
    config = hypermodel.config(hp)
    assert config == TrainingConfig(steps=12, seed=5, units=6, **SMALL)
    history = hypermodel.fit(hp, hypermodel.build(hp)).history
    again = hypermodel.fit(hp, hypermodel.build(hp)).history
    assert history["val_loss"] == again["val_loss"] and history["step"] == [4, 8, 12]
    assert history["learning_rate"][-1] < history["learning_rate"][0]
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
    hp = keras_tuner.HyperParameters()
    hypermodel = CharLMHyperModel(long, minutes=0.5, level="byte", units=17, learning_rate=[0.5, 0.25], cell=["rnn"])
    config = hypermodel.config(hp)
    assert (config.units, config.learning_rate, config.cell, config.level) == (17, 0.5, "rnn", "byte")
    assert {p.name for p in hp.space if isinstance(p, keras_tuner.engine.hyperparameters.Fixed)} == {"units", "cell"}
    values = [hp.space[i].random_sample(seed) for i in range(len(hp.space)) for seed in range(3)]
    assert all(value is not None for value in values)
    small = CharLMHyperModel(TEXT, steps=5)
    assert max(small.choices["batch_size"]) * max(small.choices["sequence_length"]) < len(small.corpus.train_ids)


@pytest.mark.parametrize(
    ("wrong", "error", "line"),
    [
        ({"unit": 5}, TypeError, "there is no choice of unit; there is one of cell, units"),
        ({"units": [5, 0]}, ValueError, "units must be a number above 0 .* received 0"),
        ({"units": []}, ValueError, r"units must be a value or a list of some; received \[\]"),
        ({"cell": "gru"}, ValueError, "cell must be one of lstm, rnn; received 'gru'"),
        ({"minutes": 1}, ValueError, "give one of minutes, epochs or steps, .*received minutes=1, steps=5"),
        ({"reports": 0}, ValueError, "reports must be a whole number above 0; received 0"),
        ({"batch_size": 2000}, ValueError, "1,691 tokens to train on, too few for batch_size=2000 with .* type"),
    ],
)
def test_what_cannot_be_searched(wrong, error, line):
    with pytest.raises(error, match=line):
        CharLMHyperModel(TEXT, **{"steps": 5} | wrong)


def test_a_diverged_trial_is_worse_than_guessing_and_no_failure():
    hypermodel = CharLMHyperModel(TEXT, steps=6, reports=2, **SMALL | {"units": 4})
    hp = keras_tuner.HyperParameters()
    model = hypermodel.build(hp)
    model.head.bias.assign(np.full(model.head.bias.shape, np.nan))
    history = hypermodel.fit(hp, model).history
    assert history["val_loss"] == [pytest.approx(np.log(len(hypermodel.corpus.vocabulary)))]


def test_pruning_is_the_median_rule(rng):
    """Against the rule spelled out, on random curves of random lengths."""
    for _ in range(200):
        reports = int(rng.integers(2, 9))
        curves = [list(rng.normal(size=rng.integers(1, reports + 1))) for _ in range(rng.integers(0, 12))]
        losses = list(rng.normal(size=rng.integers(1, reports + 1)))
        came_as_far = sorted(min(curve[: len(losses)]) for curve in curves if len(curve) >= len(losses))
        expected = False
        if len(came_as_far) >= 5 and 3 * len(losses) >= reports:
            better = sum(loss < min(losses) for loss in came_as_far)
            expected = better > len(came_as_far) / 2 or (
                len(came_as_far) % 2 == 0
                and better == len(came_as_far) // 2
                and min(losses) > (came_as_far[better - 1] + came_as_far[better]) / 2
            )
        assert is_behind(losses, curves, reports) == expected


def test_a_trial_behind_the_others_ends_early():
    hypermodel = CharLMHyperModel(TEXT, steps=12, reports=4, **SMALL | {"units": 4})
    hp = keras_tuner.HyperParameters()
    hypermodel.curves = [[0.5, 0.4, 0.3, 0.2]] * 5
    history = hypermodel.fit(hp, hypermodel.build(hp)).history
    assert history["step"] == [3, 6] and len(hypermodel.curves) == 6
    hypermodel.prune = False
    assert hypermodel.fit(hp, hypermodel.build(hp)).history["step"] == [3, 6, 9, 12]
