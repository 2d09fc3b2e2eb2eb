"""`tfcharlm train --from`: a run that begins from a model, its records, and how it resumes."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
from helpers.command_line import BARN

import tfcharlm
from tfcharlm.commands import train as train_command
from tfcharlm.layers import CELLS
from tfcharlm.text import DIGITS
from tfcharlm.training import architecture, weights_sha256
from tfcharlm.training.config import ARCHITECTURE

SMALL = ["--batch-size", "4", "--sequence-length", "16"]


@pytest.fixture
def models(exported, tmp_path):
    """`models/barn/1`, a model that has learned nothing, where `command` runs."""
    shutil.copytree(exported, tmp_path / "models" / "barn" / "1")
    return tmp_path / "models"


def test_a_run_begins_from_a_model_and_its_export_says_so(command, barn, models, model, light_exports, tmp_path):
    barn.write_text(BARN.replace("cow", "CÖw"))
    status, output, _ = command("train", "barn.txt", "--from", "models/barn", "--name", "new", "--steps", 3, *SMALL)
    assert status == 0
    digits = "the digits that spell all other characters"
    assert f"Begins from barn/1: its vocabulary, 2 new tokens and {digits}.\n" in output
    assert "1 lstm layer with 16 units" in output and "00:00    0.00 M tokens  bits per character: validation" in output
    assert "predicts this text worse than the frequencies of its tokens do. A new model" in output
    extra = tmp_path / "saved_models" / "new" / "1" / "assets.extra"
    training = json.loads((extra / "training.json").read_text())
    assert training["from"] == {"model": "barn/1", "weights_sha256": weights_sha256(model)}
    assert (training["units"], training["embedding_dim"], training["level"]) == (16, 8, "char")
    rows = list(csv.DictReader((extra / "learning_curve.csv").read_text().splitlines()))
    assert (rows[0]["step"], rows[0]["loss"]) == ("0", "") and float(rows[0]["val_loss"]) > 0
    assert f"validation {float(rows[0]['val_bits_per_character']):.3f}\n" in output
    # The curve with its gap is drawn, and drawn again.
    assert (extra / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert command("plot", "curve", extra.parents[1], "--output", "again.png")[0] == 0
    weights = light_exports(extra.parent)
    assert weights[0].shape == (len(model.vocabulary) + 2 + len(DIGITS), 8)


def test_a_record_of_a_new_model_leaves_the_architecture_to_the_model(command, barn, models, light_exports, tmp_path):
    record = {"corpus": "barn.txt", "steps": 3, "batch_size": 4, "sequence_length": 16, "clip_norm": 0.75}
    record |= {"learning_rate": 0.029}
    (tmp_path / "run.json").write_text(json.dumps(record | {"units": 7, "level": "word", "layers": 3, "cell": "gru"}))
    given = ["--config", "run.json", "--from", "models/barn", "--name", "new"]
    status, _, error = command("train", *given)
    assert (status, error) == (0, "")
    found = json.loads((tmp_path / "saved_models" / "new" / "1" / "assets.extra" / "training.json").read_text())
    assert (found["units"], found["level"], found["layers"], found["cell"]) == (16, "char", 1, "lstm")
    assert found["clip_norm"] == 0.75 and found["learning_rate"] < 0.02
    # What is typed counts.
    status, _, error = command("train", *given[:-1], "other", "--units", 7)
    assert status == 2 and "--units 7 contradicts the model to begin from, which has --units 16" in error


@pytest.mark.slow
def test_a_record_of_a_run_from_other_weights_is_told(command, barn, models, model, light_exports, tmp_path):
    record = {"corpus": "barn.txt", "steps": 3, "batch_size": 4, "sequence_length": 16} | architecture(model)
    for sha256 in ("0" * 64, weights_sha256(model)):
        origin = {"model": "barn/1", "weights_sha256": sha256}
        (tmp_path / "run.json").write_text(json.dumps(record | {"from": origin}))
        status, output, _ = command("train", "--config", "run.json", "--from", "models/barn", "--name", "new")
        told = "The run of --config began from another model: its weights had the SHA-256 000000000000, and these have"
        assert status == 0 and (told in output) == (sha256 == "0" * 64)


def test_the_architecture_has_names_that_the_record_leaves_out():
    for cell in CELLS.values():
        vocabulary = tfcharlm.text.Vocabulary("abc")
        assert architecture(tfcharlm.CharLM(vocabulary, [cell(3)])).keys() <= set(ARCHITECTURE)


BAD = {
    "other units": (["--units", 17], r"--units 17 contradicts the model to begin from, which has --units 16; omit it"),
    "another cell": (["--cell", "gru"], r"--cell gru contradicts .* which has --cell lstm; omit it"),
    "another level": (["--level", "word"], r"--level word contradicts .* which has --level char; omit it"),
    "no model": (["--from", "nothing"], r"nothing is not a directory; give a directory that `tfcharlm train`"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_contradicts_the_model_is_one_line(command, barn, models, tmp_path, case):
    options, message = BAD[case]
    status, output, error = command(
        "train", "barn.txt", "--from", "models/barn", "--name", "new", "--steps", 3, *SMALL, *options
    )
    assert (status, output) == (2, "") and re.search(message, error) and error.count("\n") == 1
    assert not (tmp_path / "saved_models").exists()


@pytest.mark.slow
def test_the_model_of_the_package_may_be_named_and_its_own_options_given(command, barn, light_exports):
    options = ["--units", 128, "--level", "char", "--steps", 1, *SMALL]
    status, output, _ = command("train", "barn.txt", "--from", "names", "--name", "new", *options)
    assert status == 0 and "Begins from names/1" in output


@pytest.mark.slow
def test_a_run_resumes_bit_for_bit_and_from_the_same_model_only(
    command, barn, models, monkeypatch, tmp_path, light_exports
):
    run = ["train", "barn.txt", "--from", "models/barn", *SMALL, "--steps", 6, "--checkpoint-seconds", 1e-6]
    assert command(*run, "--name", "whole")[0] == 0
    print_evaluation, steps = train_command._print_evaluation, []

    def interrupt(console, evaluation, *others):
        steps.append(evaluation.step)
        if len(steps) == 5:
            raise KeyboardInterrupt
        print_evaluation(console, evaluation, *others)

    monkeypatch.setattr("tfcharlm.commands.train._print_evaluation", interrupt)
    assert command(*run, "--name", "new")[0] == 130
    # A version with other weights, and the same weights in another place.
    other = tfcharlm.load_model(models / "barn" / "1")
    other.set_weights([array + 1 for array in other.get_weights()])
    other.export(models / "barn" / "2")
    status, _, error = command(*run, "--name", "new", "--resume")
    assert status == 2 and error.count("\n") == 1
    assert "from.model was 'barn/1' and is 'barn/2'; from.weights_sha256 was '" in error
    shutil.move(models, tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved" / "barn" / "2")
    run[3] = "moved/barn/1"
    status, output, _ = command(*run, "--name", "new", "--resume")
    assert status == 0 and "the run resumes after step 3" in output
    assert steps == [0, 1, 2, 3, 4, 4, 5, 6]
    whole, resumed = (light_exports(tmp_path / "saved_models" / path) for path in ("whole/1", "new/2"))
    for one, expected in zip(resumed, whole, strict=True):
        np.testing.assert_array_equal(one, expected)
    directories = [tmp_path / "saved_models" / path / "assets.extra" for path in ("whole/1", "new/2")]
    curves = [(path / "learning_curve.csv").read_text().splitlines() for path in directories]
    validation = [[row["val_loss"] for row in csv.DictReader(curve)] for curve in curves]
    assert validation[0] == validation[1] and len(validation[0]) == 7
    assert command(*run, "--name", "new", "--resume")[1].startswith("The run is finished. Model: ")
    without = [*run[:2], *run[4:], "--name", "new", "--resume", "--units", 16]
    status, _, error = command(*without)
    assert status == 2 and "from was {'model': 'barn/1'" in error
