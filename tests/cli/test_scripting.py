"""The command line for programs: JSON, --quiet, --verbose, and --config with what a run has recorded."""

import json
import logging

import numpy as np
import pytest
from helpers.command_line import SMALL

import tfcharlm
from tfcharlm import cli

RUN = ["--steps", "60", "--name", "barn", *SMALL]


def objects(output):
    return [json.loads(line) for line in output.splitlines()]


@pytest.fixture
def trained(command, barn, light_exports):
    status, output, error = command("train", "barn.txt", *RUN, "--json")
    assert (status, error) == (0, "")
    return objects(output)


def test_a_run_as_json(trained, tmp_path):
    kinds = [found["report"] for found in trained]
    assert kinds[0] == "start" and kinds[-1] == "message" and kinds.count("evaluation") > 1
    start, [result] = trained[0], [found for found in trained if found["report"] == "result"]
    assert start["options"]["units"] == 16 and start["corpus"] == ["barn.txt"] and start["parameters"] > 1_000
    evaluations = [found for found in trained if found["report"] == "evaluation"]
    assert evaluations[-1]["step"] == result["steps"] == 60
    assert all(np.isfinite(found["val_loss"]) for found in evaluations)
    record = json.loads((tmp_path / result["model"] / "assets.extra" / "training.json").read_text())
    assert record["val_loss"] == result["val_loss"] and record["temperature"] == result["temperature"]


@pytest.mark.slow
def test_quiet_prints_nothing_but_errors(command, barn, light_exports):
    assert command("train", "barn.txt", *RUN, "--quiet") == (0, "", "")
    status, output, error = command("train", "barn.txt", *RUN, "--quiet", "--learning-rate", "-1")
    assert (status, output) == (2, "") and error.startswith("tfcharlm: --learning-rate must be")


@pytest.mark.slow
def test_quiet_json_has_no_messages(command, barn, light_exports):
    status, output, error = command("train", "barn.txt", *RUN, "--quiet", "--json")
    assert (status, error) == (0, "") and {found["report"] for found in objects(output)} == {
        "start", "evaluation", "result",
    }  # fmt: skip


def test_the_record_of_a_run_gives_the_same_run(command, trained, light_exports, tmp_path):
    first = tmp_path / "saved_models" / "barn" / "1"
    config = first / "assets.extra" / "training.json"
    status, _, error = command("train", "--config", config, "--name", "again")
    assert (status, error) == (0, "")
    again = tmp_path / "saved_models" / "again" / "1"
    one, other = (np.load(path / "weights.npz") for path in (first, again))
    assert one.files == other.files and all((one[name] == other[name]).all() for name in one.files)
    assert (again / "assets.extra" / "training.json").read_text() == config.read_text()
    typed = ["--units", "7", "--epochs", "1"]
    status, output, _ = command("train", "--config", config, "--name", "other", *typed, "--json")
    options = objects(output)[0]["options"]
    assert status == 0 and (options["units"], options["epochs"], options["steps"]) == (7, 1, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file run.json"),
        ("[]", "run.json must hold a JSON object; received a list"),
        ('{"corpus": "barn.txt", "steps": 9, "unit": 5}', "run.json: 'unit' is not an option of train; remove it."),
        ('{"corpus": "barn.txt", "steps": 9, "units": "many"}', "--units must be a whole number from 1"),
        ('{"corpus": "barn.txt", "steps": 9, "units": -3}', "--units must be "),
        ('{"corpus": "barn.txt", "steps": 9, "units": [128]}', "--units must be a whole number"),
        ('{"corpus": "barn.txt", "steps": 9, "units": 256.9}', "--units must be a whole number"),
        ('{"corpus": "barn.txt", "steps": 9, "seed": true}', "--seed must be a whole number"),
        ('{"corpus": "barn.txt", "minutes": {}}', "--minutes must be a number"),
        ('{"corpus": "barn.txt", "steps": 9, "units": Infinity}', "--units must be a whole number"),
        ('{"corpus": "barn.txt", "steps": 9, "lines": 1}', "'lines' must be true or false; received 1"),
        ('{"corpus": "barn.txt", "steps": 9, "separator": 5}', "'separator' must be a text; received 5"),
        ('{"corpus": [7], "steps": 9}', "'corpus' must be names or paths; received [7]"),
        ('{"steps": 9}', "Missing argument 'CORPUS...'"),
        ('{"corpus": "barn.txt", "steps": 9, "from": {"model": "plays/1"}}', "began from plays/1; give the directory"),
    ],
)
def test_a_record_that_does_not_fit_is_one_line(command, barn, tmp_path, content, message):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    status, output, error = command("train", "--config", "run.json", "--name", "x")
    assert (status, output) == (2, "") and message in error and error.count("\n") == 1


def test_options_of_a_record_are_those_that_were_typed(tmp_path, monkeypatch):
    """Also a separator with a backslash, and options that an older record lacks."""
    monkeypatch.chdir(tmp_path)
    given = []
    monkeypatch.setattr("tfcharlm.cli.train.run", lambda function, **arguments: given.append(arguments))
    record = {"corpus": ["a.txt", "b.txt"], "lines": True, "separator": "\\n\n", "minutes": 2.0, "units": 64}
    (tmp_path / "run.json").write_text(json.dumps(record))
    parser = cli.commands.commands["train"]
    parser.main(["--config", "run.json", "--name", "x"], standalone_mode=False)
    parser.main(["--config", "run.json", "--name", "x", "--no-lines"], standalone_mode=False)
    found, other = given
    assert (found["corpus"], found["separator"], found["lines"]) == (("a.txt", "b.txt"), "\\n\n", True)
    assert (other["corpus"], other["separator"], other["lines"]) == (("a.txt", "b.txt"), "\n", False)
    assert (found["minutes"], found["units"], found["members"], found["fit_temperature"]) == (2.0, 64, 1, False)


def test_a_run_that_is_finished_is_a_report(command, trained):
    status, output, error = command("train", "barn.txt", *RUN, "--resume", "--json")
    [found] = objects(output)
    assert (status, error, found["report"]) == (0, "", "result") and found["model"].endswith("barn/1")
    assert command("train", "barn.txt", *RUN, "--resume", "--quiet") == (0, "", "")


def test_an_inspection_as_json(command, exported):
    status, output, error = command("inspect", exported, "--json")
    [found] = objects(output)
    assert (status, error) == (0, "") and found["is_plain_export"] is True and found["disallowed"] == []
    assert found["version"] == tfcharlm.__version__ and set(found["signatures"]) >= {"generate", "score", "step"}
    assert found["vocabulary"]["tokens"] == len(tfcharlm.load_model(exported).vocabulary)


@pytest.fixture
def loggers():
    logger = logging.getLogger("tfcharlm")
    before = logger.level, logger.handlers[:]
    yield
    logger.level, logger.handlers[:] = before


def test_verbose_shows_what_the_library_logs(command, exported, loggers):
    status, _, error = command("--verbose", "score", exported, "--text", "the cow")
    assert status == 0 and f"tfcharlm.model.loading: the model is read from {exported}" in error
