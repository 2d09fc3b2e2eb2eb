"""`tfcharlm tune`: what it writes, how it resumes, and what it refuses."""

import csv
import json
import re
import socket
import subprocess

import numpy as np
import pytest
from helpers.barnyard import TEXT
from helpers.command_line import COMMAND, parsed
from helpers.processes import environment

import tfcharlm
from tfcharlm.commands.tune import _by_updates
from tfcharlm.text import split_corpus, stream_dataset
from tfcharlm.training import OPTIONS, TrainingConfig
from tfcharlm.tuning import CharLMHyperModel
from tfcharlm.tuning.hypermodel import VALIDATION_SHAPE

FIXED = "--num-evaluations 2 --cell rnn --layers 1 --batch-size 4 --sequence-length 16 --embedding-dim 4 --units 4,6"
TUNE = ("tune", "barn.txt", "--name", "barn", "--steps", "6", *FIXED.split())


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture
def tune(command, tmp_path):
    (tmp_path / "barn.txt").write_text(TEXT)
    return lambda *arguments: command(*TUNE, *arguments)


@pytest.mark.slow
def test_a_trial_of_minutes_is_trained_again_with_as_many_updates(command, tmp_path, light_exports):
    (tmp_path / "barn.txt").write_text(TEXT)
    fixed = [argument if argument != "--steps" else "--minutes" for argument in TUNE if argument != "6"]
    fixed.insert(fixed.index("--minutes") + 1, "0.02")
    status, output, error = command(*fixed, "--trials", "1")
    assert (status, error) == (0, "")
    *_, last = rows_of(tmp_path / "saved_models/barn/1/assets.extra/learning_curve.csv")
    again = re.search(r"^  (tfcharlm train .*) --name NAME$", output, re.MULTILINE)[1]
    assert f" --steps {float(last['step']):.0f} " in f"{again} " and "--minutes" not in again


def test_items_are_searched_as_they_are_trained(command, tmp_path, light_exports):
    (tmp_path / "names.txt").write_text(
        "".join(f"{first}{last}\n" for first in "abcde" for last in ("nna", "lbert", "ma"))
    )
    typed = ["tune", "names.txt", "--name", "names", "--steps", "3", "--trials", "1", *FIXED.split()]
    status, output, error = command(*typed, "--lines")
    assert (status, error) == (0, "") and "names.txt --lines --steps 3 " in output
    training = json.loads((tmp_path / "saved_models/names/1/assets.extra/training.json").read_text())
    assert (training["corpus"], training["lines"], training["item_end"]) == ("names.txt", True, "\n")
    status, _, error = command(*typed, "--resume")
    assert status == 2 and "this search started with --lines True, and" in error
    status, _, error = command("tune", "-", *typed[2:])
    assert status == 2 and "it cannot be standard input; give a file" in error


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


def test_tune_writes_what_it_promises_and_resumes(tune, monkeypatch, tmp_path):
    """A trial, then a second one by --resume; the table is that of the oracle, the model that of the table."""
    with monkeypatch.context() as patch:  # the first version does not matter
        patch.setattr(
            "tfcharlm.commands.tune.export_saved_model",
            lambda model, directory, records: directory.mkdir() or directory,
        )
        assert tune("--trials", "1")[0] == 0
    search = tmp_path / "saved_models" / "barn" / "search"
    first = rows_of(search / "leaderboard.csv")
    status, output, error = tune("--trials", "2", "--resume")
    assert (status, error) == (0, "")
    rows = rows_of(search / "leaderboard.csv")
    assert len(first) == 1 and len(rows) == 2 and {row["rank"] for row in rows} == {"1", "2"}
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
    assert list((search / "tensorboard" / "1").glob("events.*"))
    training = json.loads((tmp_path / "saved_models/barn/2/assets.extra/training.json").read_text())
    assert training["trial"] == rows[0]["trial"] and training["units"] == int(rows[0]["units"])
    text = (tmp_path / "barn.txt").read_text()
    assert f"{training['val_loss']:.4f} nats per token" in output
    model = tfcharlm.load_model(tmp_path / "saved_models" / "barn")
    model.compile()
    held_out = stream_dataset(model.vocabulary.encode(text[-188:]), **VALIDATION_SHAPE, drop_remainder=False)
    assert losses[0] == pytest.approx(model.evaluate(held_out, verbose=0, return_dict=True)["loss"], rel=1e-5)
    again = re.search(r"^  tfcharlm (train .*) --name NAME$", output, re.MULTILINE)[1].split()
    typed = {k: v for k, v in parsed([*again, "--name", "again"]).params.items() if k in OPTIONS and v is not None}
    assert TrainingConfig(**typed | {"learning_rate": 1}) == TrainingConfig(
        **{k: v for k, v in training.items() if k in OPTIONS} | {"learning_rate": 1}
    )
    rate = typed.get("learning_rate", TrainingConfig.learning_rate)
    assert rate == pytest.approx(training["learning_rate"], rel=1e-5), "it is typed with six digits"


REFUSED = {
    "nothing to resume": (["--resume"], r"no search to resume in \S+search; type the command without --resume"),
    "no trials": (["--trials", "0"], "--trials must be a whole number from 1 up; received 0"),
    "no time": (["--stall-seconds", "0"], "--stall-seconds must be a number above 0; received 0"),
    "no workers": (["--workers", "-1"], "--workers must be a whole number from 0 up; received -1"),
    "two budgets": (["--minutes", "1"], "either --minutes or --steps for a trial, such as --minutes 1; received"),
    "no number": (["--units", "4,x"], "--units.*received '4,x'; type one value, or several separated by commas"),
    "no boolean": (["--skip-connections", "yes"], "--skip-connections.*received 'yes'; type one value, or several"),
    "no such value": (["--cell", "ntm"], "cell must be one of lstm, gru, rnn; received 'ntm'"),
    "no such tuner": (["--tuner", "genetic"], "'genetic' is not one of 'random', 'hyperband', 'bayesian', 'grid'"),
    "too large": (["--batch-size", "4000"], "too few for --batch-size 4000 with --sequence-length 16"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_tune_refuses_in_one_line_and_leaves_nothing(case, tune, tmp_path):
    arguments, line = REFUSED[case]
    status, output, error = tune(*arguments)
    assert (status, output) == (2, "") and re.search(line, error) and error.count("\n") == 1, error
    assert not (tmp_path / "saved_models").exists()


def test_tune_resumes_the_same_search_only(tune, tmp_path):
    search = tmp_path / "saved_models" / "barn" / "search"
    search.mkdir(parents=True)
    sha256 = split_corpus(tmp_path / "barn.txt").sha256
    settings = {"corpus": ["barn.txt"], "sha256": sha256, "lines": False, "separator": "\n", "join": False}
    settings["tuner"] = "random"
    (search / "settings.json").write_text(json.dumps(settings))
    status, _, error = tune()
    assert status == 2 and re.search("has a search; type --resume .*or give another --name", error)
    status, _, error = tune("--tuner", "grid", "--resume")
    assert status == 2 and re.search("started with --tuner random, and its results would not be comparable", error)
    (search / "settings.json").write_text(json.dumps(settings | {"sha256": "0" * 64}))
    status, _, error = tune("--resume")
    assert status == 2 and re.search("started with another text", error)
    assert [path.name for path in search.iterdir()] == ["settings.json"]


@pytest.mark.parametrize("missing", ["KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"])
def test_a_role_needs_three_variables(missing, tune, tmp_path, monkeypatch):
    for name in {"KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"} - {missing}:
        monkeypatch.setenv(name, "8000")
    status, output, error = tune()
    assert (status, output) == (2, "") and re.search(f"several machines needs .*{missing}.* received", error)
    assert error.count("\n") == 1 and not (tmp_path / "saved_models").exists()


@pytest.mark.slow
def test_a_search_in_which_all_raises_has_no_model(tune, tmp_path, monkeypatch):
    """Also with fewer trials than end a search early."""

    def fit(*arguments, **named):
        raise RuntimeError("the moon is full")

    monkeypatch.setattr(CharLMHyperModel, "fit", fit)
    status, output, error = tune("--trials", "1")
    assert (status, error) == (
        2, "tfcharlm: no trial has a result, so there is no model; the last one ended with: "
        "RuntimeError: the moon is full\n",
    )  # fmt: skip
    assert "0 of 1 trials have a result" in output
    assert [path.name for path in (tmp_path / "saved_models/barn").iterdir()] == ["search"]


@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_a_chief_that_cannot_listen_leaves_nothing_in_the_way(resume, tune, tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
        monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
        monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(port))
        status, _, error = tune("--trials", "1", *resume)
    assert status == 2 and error == (
        f"tfcharlm: the address of the chief, 127.0.0.1:{port}, is taken: another process uses it. Give a free port in "
        "KERASTUNER_ORACLE_PORT.\n"
    )
    left = {path.name for path in (tmp_path / "saved_models/barn/search").iterdir()}
    assert left <= {"lock"}, "the same command can start the search"


@pytest.mark.slow
def test_a_search_in_which_all_diverges_has_no_model(tune, tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr("tfcharlm.training.build.log_frequencies", lambda counts: np.full(len(counts), np.nan))
    status, _, error = tune("--trials", "1")
    assert any(re.search("weight .*head/bias is not finite", str(warning.message)) for warning in recwarn)
    assert status == 2 and error == (
        "tfcharlm: every trial diverged, so there is no model to keep; give a lower --learning-rate.\n"
    )
    assert [path.name for path in (tmp_path / "saved_models/barn").iterdir()] == ["search"]


@pytest.mark.slow
def test_tune_with_workers(tmp_path):
    """A chief and two workers, as typed: all trials once, one model."""
    (tmp_path / "barn.txt").write_text(TEXT)
    command = [*COMMAND, *TUNE, "--trials", "4", "--workers", "2"]
    output = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert (output.returncode, output.stderr) == (0, "")
    search = tmp_path / "saved_models" / "barn" / "search"
    rows = rows_of(search / "leaderboard.csv")
    assert sorted(row["trial"] for row in rows) == ["0", "1", "2", "3"] and {r["status"] for r in rows} == {"COMPLETED"}
    assert len(list((search / "logs").iterdir())) == 2 and (tmp_path / "saved_models" / "barn" / "1").is_dir()
    assert len(re.findall(r"^ +[0-3] +[0-9.]+", output.stdout, re.MULTILINE)) == 4
