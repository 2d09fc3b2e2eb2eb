"""Searches: the space, the budget of a trial, pruning, all tuners of Keras Tuner as they are, the command."""

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest

import tfcharlm
from tfcharlm.cli.tune import _by_updates
from tfcharlm.training.config import TrainingConfig
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


@pytest.mark.slow
@pytest.mark.parametrize("tuner", TUNERS)
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
    """And the same losses again."""
    hypermodel = CharLMHyperModel(TEXT, steps=12, reports=3, seed=5, **SMALL | {"units": 6})
    hp = keras_tuner.HyperParameters()
    config = hypermodel.config(hp)
    assert config == TrainingConfig(steps=12, seed=5, units=6, **SMALL)
    history = hypermodel.fit(hp, hypermodel.build(hp)).history
    again = hypermodel.fit(hp, hypermodel.build(hp)).history
    assert history["val_loss"] == again["val_loss"] and history["step"] == [4, 8, 12]
    assert history["learning_rate"][-1] < history["learning_rate"][0]


@pytest.mark.slow
def test_a_part_of_the_budget_is_the_same_share_of_everything():
    hypermodel = CharLMHyperModel(TEXT, steps=12, reports=3, seed=5, **SMALL | {"units": 6})
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
    assert max(small.choices["batch_size"]) * max(small.choices["sequence_length"]) < len(small.corpus.train_ids)


@pytest.mark.parametrize(
    ("wrong", "error", "line"),
    [
        ({"unit": 5}, TypeError, "there is no choice of unit; there is one of cell, units"),
        ({"units": [5, 0]}, ValueError, "units must be a number above 0 .* received 0"),
        ({"units": []}, ValueError, r"units must be a value or a list of some; received \[\]"),
        ({"cell": "gru"}, ValueError, "cell must be one of lstm, rnn; received 'gru'"),
        ({"minutes": 1}, ValueError, "give either minutes or steps of a trial, .* received minutes=1, steps=5"),
        ({"reports": 0}, ValueError, "reports must be a whole number above 0; received 0"),
        ({"cap_input_gate": [True, False]}, ValueError, r"cell=\"lstm\" with it; received cell=\['lstm', 'rnn'\]"),
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


@pytest.mark.parametrize("seconds_a_step", [1, 4])
def test_evaluations_cost_nothing_of_a_budget_of_minutes(monkeypatch, seconds_a_step):
    """By a clock that only steps and evaluations move. Steps longer than the time between reports stand for several."""
    clock = types.SimpleNamespace(now=1000.0)
    monkeypatch.setattr("tfcharlm.model.replicas.time", types.SimpleNamespace(monotonic=lambda: clock.now))
    hypermodel = CharLMHyperModel(TEXT, minutes=0.2, reports=4, prune=False, **SMALL | {"units": 3})
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


TUNE = ("tune", "barn.txt", "--name", "barn", "--steps", "6", "--reports", "2", "--layers", "1", "--batch-size", "4",
        "--sequence-length", "16", "--units", "4,6", "--cell", "rnn", "--embedding-dim", "4")  # fmt: skip


@pytest.fixture
def tune(command, tmp_path):
    (tmp_path / "barn.txt").write_text(TEXT)
    return lambda *arguments: command(*TUNE, *arguments)


def test_a_trial_of_minutes_is_trained_anew_with_as_many_updates(command, tmp_path):
    (tmp_path / "barn.txt").write_text(TEXT)
    fixed = [argument if argument != "--steps" else "--minutes" for argument in TUNE if argument != "6"]
    fixed.insert(fixed.index("--minutes") + 1, "0.02")
    status, output, error = command(*fixed, "--trials", "1")
    assert (status, error) == (0, "")
    *_, last = csv.DictReader((tmp_path / "saved_models/barn/1/assets.extra/learning_curve.csv").open())
    again = re.search(r"^  (tfcharlm train .*) --name NAME$", output, re.MULTILINE)[1]
    assert f" --steps {float(last['step']):.0f} " in f"{again} " and "--minutes" not in again


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        (b"epoch,val_loss,step\n0,2.5,3.0\n1,9.9,\n", {"steps": 3}),
        (b"epoch,val_loss\n0,9.9\n", {"minutes": 1}),
        (b"", {"minutes": 1}),
    ],
)
def test_a_trial_that_diverged_has_the_updates_that_it_made(curve, expected):
    assert _by_updates(TrainingConfig(minutes=1, units=9), curve) == TrainingConfig(**expected, units=9)


def test_tune_writes_what_it_promises_and_goes_on(tune, command, tmp_path):
    """Two trials, then a third by --resume; the table is that of the oracle, the model that of the table."""
    assert tune("--trials", "2")[0] == 0
    search = tmp_path / "saved_models" / "barn" / "search"
    first = list(csv.DictReader((search / "leaderboard.csv").open()))
    status, output, error = tune("--trials", "3", "--resume")
    assert (status, error) == (0, "")
    rows = list(csv.DictReader((search / "leaderboard.csv").open()))
    assert len(first) == 2 and len(rows) == 3 and {row["rank"] for row in rows} == {"1", "2", "3"}
    for row in first:
        assert row | {"rank": ""} in [other | {"rank": ""} for other in rows], "no finished trial is run again"
    losses = [float(row["val_loss"]) for row in rows]
    assert losses == sorted(losses) and {row["units"] for row in rows} <= {"4", "6"}
    assert next(row for row in rows if row["trial"] == "0") | {"rank": "", "val_loss": ""} == {
        "rank": "", "trial": "0", "status": "COMPLETED", "val_loss": "", "cell": "rnn", "units": "4", "layers": "1",
        "embedding_dim": "4", "dropout": "0.0", "batch_size": "4", "sequence_length": "16", "schedule": "cosine",
        "clip_norm": "1.0", "learning_rate": "0.012",
    }, "the first one has the defaults"  # fmt: skip
    assert (search / "trials.png").read_bytes()[1:4] == b"PNG"
    assert list((search / "tensorboard" / "2").glob("events.*"))
    training = json.loads((tmp_path / "saved_models/barn/2/assets.extra/training.json").read_text())
    assert training["trial"] == rows[0]["trial"] and training["units"] == int(rows[0]["units"])
    text = (tmp_path / "barn.txt").read_text()
    assert f"{training['val_loss']:.4f} nats per token" in output
    model = tfcharlm.load_model(tmp_path / "saved_models" / "barn")
    model.compile()
    held_out = stream_dataset(model.vocabulary.encode(text[-188:]), **VALIDATION_SHAPE, drop_remainder=False)
    assert losses[0] == pytest.approx(model.evaluate(held_out, verbose=0, return_dict=True)["loss"], rel=1e-5)
    again = re.search(r"^  (tfcharlm train .*) --name NAME$", output, re.MULTILINE)[1].split()
    assert command(*again[1:], "--name", "anew")[0] == 0
    anew = json.loads((tmp_path / "saved_models/anew/1/assets.extra/training.json").read_text())
    assert {k: v for k, v in anew.items() if k in SEARCHED} == pytest.approx({k: training[k] for k in SEARCHED})


REFUSED = {
    "nothing to go on with": (["--resume"], r"no search in \S+search to go on with; type the command without --resume"),
    "no trials": (["--trials", "0"], "--trials must be a whole number from 1 up; received 0"),
    "no workers": (["--workers", "-1"], "--workers must be a whole number from 0 up; received -1"),
    "two budgets": (["--minutes", "1"], "either --minutes or --steps of a trial, such as --minutes 1; received"),
    "no number": (["--units", "4,x"], "--units.*received '4,x'; type one value, or several with commas between"),
    "no boolean": (["--skip-connections", "yes"], "--skip-connections.*received 'yes'; type one value, or several"),
    "no such value": (["--cell", "gru"], "cell must be one of lstm, rnn; received 'gru'"),
    "no such tuner": (["--tuner", "genetic"], "'genetic' is not one of 'random', 'hyperband', 'bayesian', 'grid'"),
    "too large": (["--batch-size", "4000"], "too few for --batch-size 4000 with --sequence-length 16"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_tune_refuses_in_one_line_and_leaves_nothing(case, tune, tmp_path):
    arguments, line = REFUSED[case]
    status, output, error = tune(*arguments)
    assert (status, output) == (2, "") and re.search(line, error) and error.count("\n") == 1, error
    assert not (tmp_path / "saved_models").exists()


def test_tune_goes_on_with_the_same_search_only(tune, tmp_path):
    search = tmp_path / "saved_models" / "barn" / "search"
    search.mkdir(parents=True)
    settings = {"corpus": "barn.txt", "sha256": hashlib.sha256(TEXT.encode()).hexdigest(), "tuner": "random"}
    (search / "settings.json").write_text(json.dumps(settings))
    status, _, error = tune()
    assert status == 2 and re.search("has a search; go on with it by --resume, or give another --name", error)
    status, _, error = tune("--tuner", "grid", "--resume")
    assert status == 2 and re.search("began with --tuner random, and results would not be comparable", error)
    (search / "settings.json").write_text(json.dumps(settings | {"sha256": "0" * 64}))
    status, _, error = tune("--resume")
    assert status == 2 and re.search("began with another text", error)
    assert [path.name for path in search.iterdir()] == ["settings.json"]


@pytest.mark.parametrize("missing", ["KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"])
def test_a_role_needs_three_variables(missing, tune, tmp_path, monkeypatch):
    for name in {"KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"} - {missing}:
        monkeypatch.setenv(name, "8000")
    status, output, error = tune()
    assert (status, output) == (2, "") and re.search(f"several machines needs .*{missing}.* received", error)
    assert error.count("\n") == 1 and not (tmp_path / "saved_models").exists()


def test_a_search_in_which_all_diverges_has_no_model(tune, tmp_path, monkeypatch):
    monkeypatch.setattr("tfcharlm.training.config.log_frequencies", lambda ids, size: np.full(size, np.nan))
    status, _, error = tune("--trials", "1")
    assert status == 2 and error == (
        "tfcharlm: every trial diverged, and there is no model to keep; give a lower --learning-rate.\n"
    )
    assert [path.name for path in (tmp_path / "saved_models/barn").iterdir()] == ["search"]


@pytest.mark.slow
def test_tune_with_workers(tmp_path):
    """A chief and two workers, as typed: all trials once, one model."""
    (tmp_path / "barn.txt").write_text(TEXT)
    command = [sys.executable, "-m", "tfcharlm_command", *TUNE, "--trials", "4", "--workers", "2"]
    environment = os.environ | {"PYTHONPATH": str(Path(tfcharlm.__file__).parents[1])}
    output = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (output.returncode, output.stderr) == (0, "")
    search = tmp_path / "saved_models" / "barn" / "search"
    rows = list(csv.DictReader((search / "leaderboard.csv").open()))
    assert sorted(row["trial"] for row in rows) == ["0", "1", "2", "3"] and {r["status"] for r in rows} == {"COMPLETED"}
    assert len(list((search / "logs").iterdir())) == 2 and (tmp_path / "saved_models" / "barn" / "1").is_dir()
    assert len(re.findall(r"^ +[0-3] +[0-9.]+", output.stdout, re.MULTILINE)) == 4


@pytest.mark.slow
def test_memory_does_not_grow(tmp_path):
    """Thirty trials in one process: its memory after each of the last ten as after each of the first ten."""
    program = f"""
import resource, sys
from tfcharlm.tuning import CharLMHyperModel, search
def resident(trial):
    print(int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize(), flush=True)
hypermodel = CharLMHyperModel({TEXT!r}, steps=6, reports=2, units=[4, 6, 8, 10], layers=[1, 2], embedding_dim=[4, 8],
                              batch_size=4, sequence_length=16)
search(hypermodel, "random", {str(tmp_path / "search")!r}, trials=30, on_trial=resident)
"""
    environment = os.environ | {"PYTHONPATH": str(Path(tfcharlm.__file__).parents[1])}
    output = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    sizes = [int(line) / 2**20 for line in output.stdout.split()]
    print("MiB after each trial:", *map(round, sizes))
    assert len(sizes) == 30
    assert np.mean(sizes[-10:]) < 1.1 * np.mean(sizes[:10])
