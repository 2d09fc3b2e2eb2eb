"""`tfcharlm train`: a run, its files, and what it refuses."""

import csv
import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from helpers.command_line import BARN, COMMAND, SMALL
from helpers.processes import environment

import tfcharlm
from tfcharlm.atomic_files import lock
from tfcharlm.commands import train as train_command


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """`saved_models/barn/1` and what training printed, in a process as it is typed."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "barn [old].txt").write_text(BARN)
    settings = ["--level", "byte", "--cell", "rnn", "--layers", "2"]
    command = [*COMMAND, "train", "barn [old].txt", "--epochs", "4", "--name", "barn", *SMALL, *settings]
    output = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, env=environment())
    return folder / "saved_models" / "barn" / "1", output


def test_train_learns_and_leaves_a_model_with_its_curve(trained):
    directory, output = trained
    assert output.stderr == "" and output.stdout.startswith("barn [old].txt: ")
    assert "holds out the last" in output.stdout and "\n    | " in output.stdout
    assert str(directory.relative_to(directory.parents[2])) in output.stdout
    extra = directory / "assets.extra"
    rows = list(csv.DictReader((extra / "learning_curve.csv").read_text().splitlines()))
    validation = [float(row["val_bits_per_character"]) for row in rows]
    assert len(rows) == 12
    assert validation[-1] < 0.75 * validation[0]
    assert [int(row["tokens"]) for row in rows] == [int(row["step"]) * 4 * 16 for row in rows]
    assert (extra / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    training = json.loads((extra / "training.json").read_text())
    assert (training["corpus"], training["epochs"], training["units"]) == ("barn [old].txt", 4, 16)
    assert f"{training['val_loss']:.4f} nats" in output.stdout
    assert "characters to train on are few" in output.stdout and training["ended_early"] is False
    counted = training["kneser_ney"]
    better = counted["bits_per_character"] < training["val_bits_per_character"]
    assert 1 <= counted["order"] <= 9 and ("Counting is better" in output.stdout) == better
    assert sorted(path.name for path in directory.parent.iterdir()) == ["1", "checkpoints"]


def test_the_reported_loss_is_that_of_the_exported_model_on_the_last_part(trained):
    directory, _ = trained
    training = json.loads((directory / "assets.extra" / "training.json").read_text())
    model = tfcharlm.load_model(directory)
    ids = model.vocabulary.encode(BARN)[-round(len(BARN) * 0.1) :]
    targets = len(ids) - 1
    stretch = -(-targets // 4)
    total = 0.0
    for row in range(4):  # four streams, each from a zero state
        first, last = row * stretch, min((row + 1) * stretch, targets)
        logits, _ = model.step(tf.constant(ids[None, first:last]), model.initial_state(1))
        chosen = tf.nn.log_softmax(logits)[0].numpy()[np.arange(last - first), ids[first + 1 : last + 1]]
        total -= chosen.sum()
    assert training["val_loss"] == pytest.approx(total / targets, rel=1e-5)


BAD = {
    "missing corpus": (["missing.txt"], r"no file 'missing.txt'.*the corpora are"),
    "empty corpus": (["empty.txt"], r"empty.txt has no text"),
    "undecodable corpus": (["latin.txt"], r"latin.txt is not UTF-8: byte 0xe9 at offset 3.*iconv"),
    "corpus with the name of an option": (["epochs/units.txt"], r"no file 'epochs/units.txt'"),
    "short corpus": (
        ["short.txt"],
        r"5 of 50 tokens are held out; .*too few.*--batch-size 1, --sequence",
    ),
    "no budget": (["barn.txt", "--epochs", "0"], r"--epochs must be a whole number from 1 .*; received 0"),
    "endless budget": (["barn.txt", "--epochs", str(10**18)], r"--epochs must be a whole number from 1 to below"),
    "two budgets": (["barn.txt", "--minutes", "1"], r"--epochs (or|and) --steps.*received --minutes"),
    "no units": (["barn.txt", "--units", "0"], r"--units must be a whole number from 1 .*; received 0"),
    "no seed": (["barn.txt", "--seed", "-1"], r"--seed must be a whole number from 0 to 4294967295; received -1"),
    "a name that is a pattern": (["barn.txt", "--name", "a[b]"], r"has one of the characters .*rename it"),
    "output is a broken link": (["barn.txt", "--output", "link"], r"link is not a directory that can be written to"),
    "no number": (["barn.txt", "--units", "many"], r"--units.*'many' is not a valid integer"),
    "no cell": (["barn.txt", "--cell", "ntm"], r"'ntm' is not one of 'lstm', 'gru', 'rnn'"),
    "no input gate": (
        ["barn.txt", "--cell", "rnn", "--cap-input-gate"],
        r"--cap-input-gate needs a cell with an input gate.*received --cell 'rnn'",
    ),
    "all held out": (
        ["barn.txt", "--validation-fraction", "1"],
        r"--validation-fraction must be a number above 0 and below 1; received 1",
    ),
    "a name that is a path": (["barn.txt", "--name", "../up"], r"--name must be a plain name"),
    "unknown option": (["barn.txt", "--color", "red"], r"No such option.*--color"),
    "output is a file": (["barn.txt", "--output", "barn.txt"], r"barn.txt is not a directory that can be written to"),
}


def assert_refused(command, tmp_path, arguments, message):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "short.txt").write_text(BARN[:50])
    (tmp_path / "latin.txt").write_bytes("café, thé".encode("latin-1"))
    (tmp_path / "link").symlink_to("nowhere")
    before = sorted(tmp_path.rglob("*"))
    status, output, error = command("train", "--name", "barn", "--epochs", "1", *arguments)
    assert status == 2
    assert re.search(message, error)
    assert error.count("\n") == 1 and error.startswith("tfcharlm: ")
    assert output == ""
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("case", BAD)
def test_train_refuses_in_one_line_and_leaves_nothing(command, barn, tmp_path, case):
    assert_refused(command, tmp_path, *BAD[case])


def test_too_little_memory_is_one_line(command, barn, tmp_path, monkeypatch):
    """The first line of TensorFlow's error; an error of NumPy has none."""
    oom = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor\nwith many\nlines")
    for error, message in ((oom, r"tfcharlm: OOM when allocating tensor\n$"), (MemoryError(), "not enough memory")):
        with monkeypatch.context() as patch:
            patch.setattr(
                "tfcharlm.commands.train.make_run", lambda *_, error=error, **__: (_ for _ in ()).throw(error)
            )
            (tmp_path / "link").unlink(missing_ok=True)
            assert_refused(command, tmp_path, ["barn.txt", *SMALL], message)


@pytest.mark.slow  # TensorFlow waits for memory for ten seconds before it gives up
def test_a_model_that_is_larger_than_memory_is_one_line(command, barn, tmp_path):
    assert_refused(command, tmp_path, ["barn.txt", *SMALL, "--units", "1000000000"], r"OOM|memory")


def test_a_text_that_is_too_short_for_anything_is_one_line(command, tmp_path):
    (tmp_path / "two.txt").write_text("ab")
    status, _, error = command("train", "two.txt", "--minutes", 0.1, "--name", "two")
    assert status == 2 and error.count("\n") == 1 and not (tmp_path / "saved_models").exists()


def test_a_run_that_has_not_saved_yet_keeps_its_directory(command, barn, tmp_path):
    """From a second start of the same command, too."""
    directory = tmp_path / "saved_models" / "barn" / "checkpoints"
    with lock(directory, "another run"):
        status, _, error = command("train", "barn.txt", "--name", "barn", "--epochs", 1, *SMALL)
        assert status == 2 and "another run is running in saved_models/barn/checkpoints" in error
        assert (directory / "lock").exists()


# Training, exporting and sampling have quick tests of their own.
@pytest.mark.slow
@pytest.mark.parametrize("settings", [["--level", "byte", "--cell", "rnn", "--layers", "2"], ["--level", "word"]])
def test_every_kind_of_model_is_trained_and_sampled(command, tmp_path, settings, without_samples):
    (tmp_path / "barn [old].txt").write_text(BARN)
    status, output, _ = command("train", "barn [old].txt", "--name", "barn", "--steps", 2, *SMALL, *settings)
    assert status == 0 and output.startswith("barn [old].txt: ")
    status, output, _ = command("sample", "saved_models/barn", "--prompt", "the old", "--length", 20, "--seed", 1)
    model = tfcharlm.load_model("saved_models/barn")
    assert (status, output) == (0, model.generate("the old", 20, 0.8, seed=1) + "\n")


@pytest.mark.slow
def test_neither_an_interruption_nor_a_missing_matplotlib_stops_the_saving(
    command, barn, monkeypatch, tmp_path, light_exports
):
    """Of the next version, with a curve and no picture."""
    light_export = train_command.export_saved_model
    (tmp_path / "saved_models" / "barn" / "9").mkdir(parents=True)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    def export(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return light_export(*arguments)

    monkeypatch.setattr("tfcharlm.commands.train.export_saved_model", export)
    status, output, _ = command("train", "barn.txt", "--name", "barn", "--steps", 2, *SMALL)
    assert status == 0 and 'type pip install "tfcharlm[plots]"\n' in output
    assert "Model: saved_models/barn/10\n" in output
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    extra = tmp_path / "saved_models" / "barn" / "10" / "assets.extra"
    assert {path.name for path in extra.iterdir()} == {"learning_curve.csv", "training.json"}


@pytest.mark.slow
def test_a_model_that_cannot_be_written_where_it_should_is_written_elsewhere(command, barn, monkeypatch, light_exports):
    export, directories = train_command.export_saved_model, []

    def fail_once(model, directory, *records):
        directories.append(directory)
        if len(directories) == 1:
            raise OSError("No space left on device")
        return export(model, directory, *records)

    monkeypatch.setattr("tfcharlm.commands.train.export_saved_model", fail_once)
    status, output, _ = command("train", "barn.txt", "--name", "barn", "--steps", 2, *SMALL)
    assert status == 1 and "saved_models/barn cannot be written to (No space left on device)." in output
    assert f"Model: {directories[1]}\n" in output and directories[1].parent.name == "barn"
    assert light_exports(directories[1])[0].shape[1] == 64, "the embedding"


@pytest.mark.parametrize("value", [np.nan, pytest.param(np.inf, marks=pytest.mark.slow)])
def test_a_diverged_run_is_no_result(command, barn, monkeypatch, tmp_path, value):
    monkeypatch.setattr("tfcharlm.training.build.log_frequencies", lambda counts: np.full(len(counts), value))
    status, _, error = command("train", "barn.txt", "--name", "barn", "--epochs", 1, *SMALL)
    assert status == 2
    assert re.fullmatch(r"tfcharlm: the training diverged within \d+ batches; give a lower --learning-rate .*\n", error)
    assert [path.name for path in tmp_path.iterdir()] == ["barn.txt"]
