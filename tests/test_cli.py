"""The command line as its user meets it: a run, its files, its errors, an interruption."""

import contextlib
import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import rich.progress
import tensorflow as tf

import tfcharlm
from tfcharlm import cli
from tfcharlm.cli.options import RECIPE
from tfcharlm.atomic_files import lock
from tfcharlm.cli.errors import OPTIONS
from tfcharlm.training.sizing import suited
from tfcharlm.text import Vocabulary

TEXT = "".join(
    f"the {size} {animal} said {word} to the {other}\n"
    for size in ("big", "old", "red")
    for animal in ("cat", "dog", "hen", "fox")
    for word in ("yes", "no", "why")
    for other in ("cow", "pig", "owl")
)
SMALL = ["--units", "16", "--batch-size", "4", "--sequence-length", "16"]
README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(autouse=True)
def _interruptible():
    """As in a terminal, also where these tests run in the background of a shell, which ignores Ctrl-C there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """`saved_models/barn/1` and what training printed."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "barn.txt").write_text(TEXT)
    output = subprocess.run(
        [sys.executable, "-m", "tfcharlm_command", "train", "barn.txt", "--epochs", "12", "--name", "barn", *SMALL],
        cwd=folder, capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(README.parent)},
    )  # fmt: skip
    return folder / "saved_models" / "barn" / "1", output


def test_train_learns_and_leaves_a_model_with_its_curve(trained):
    directory, output = trained
    assert output.stderr == ""
    assert "holds out the last" in output.stdout
    assert str(directory.relative_to(directory.parents[2])) in output.stdout
    extra = directory / "assets.extra"
    rows = list(csv.DictReader((extra / "learning_curve.csv").open()))
    validation = [float(row["val_bits_per_character"]) for row in rows]
    assert len(rows) == 12
    assert validation[-1] < 0.75 * validation[0]
    assert [int(row["tokens"]) for row in rows] == [int(row["step"]) * 4 * 16 for row in rows]
    assert (extra / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    training = json.loads((extra / "training.json").read_text())
    assert (training["corpus"], training["epochs"], training["units"]) == ("barn.txt", 12, 16)
    assert f"{training['val_loss']:.4f} nats" in output.stdout
    assert sorted(path.name for path in directory.parent.iterdir()) == ["1", "checkpoints"]


def test_the_reported_loss_is_that_of_the_exported_model_on_the_last_part(trained):
    directory, _ = trained
    training = json.loads((directory / "assets.extra" / "training.json").read_text())
    model = tfcharlm.load_model(directory)
    ids = model.vocabulary.encode(TEXT)[-round(len(TEXT) * 0.1) :]
    targets = len(ids) - 1
    stretch = -(-targets // 4)
    total = 0.0
    for row in range(4):  # four streams, each from a zero state
        first, last = row * stretch, min((row + 1) * stretch, targets)
        logits, _ = model.step(tf.constant(ids[None, first:last]), model.initial_state(1))
        chosen = tf.nn.log_softmax(logits)[0].numpy()[np.arange(last - first), ids[first + 1 : last + 1]]
        total -= chosen.sum()
    assert training["val_loss"] == pytest.approx(total / targets, rel=1e-5)


def test_sample_prints_what_generate_returns(trained, command):
    directory, _ = trained
    status, output, _ = command("sample", directory.parent, "--prompt", "the old", "--length", 50, "--seed", 3)
    assert (status, output) == (0, tfcharlm.load_model(directory).generate("the old", 50, 0.8, seed=3) + "\n")
    status, output, _ = command("sample", directory, "--length", 9, "--seed", 3, "--count", 2, "--temperature", 0)
    assert status == 0
    assert re.fullmatch(r"--- 1 of 2 ---\n.{9}\n--- 2 of 2 ---\n.{9}\n", output, re.DOTALL)


def test_sample_says_what_is_copied_beside_the_samples(trained, command, tmp_path):
    (tmp_path / "corpus.txt").write_text(TEXT)
    arguments = ["sample", trained[0], "--length", 30, "--seed", 3]
    _, alone, _ = command(*arguments)
    status, output, error = command(*arguments, "--novelty", tmp_path / "corpus.txt")
    assert (status, output) == (0, alone)
    assert error == f"{tfcharlm.novelty_report(output[:-1], TEXT)}\n"


BAD_TRAIN = {
    "missing corpus": (["missing.txt"], r"no file 'missing.txt'.*the corpora are"),
    "empty corpus": (["empty.txt"], r"empty.txt has no text"),
    "undecodable corpus": (["latin.txt"], r"latin.txt is not UTF-8: byte 0xe9 at offset 3.*iconv"),
    "corpus with the name of an option": (["epochs/units.txt"], r"no file 'epochs/units.txt'"),
    "directory": (["."], r"is a directory"),
    "short corpus": (
        ["short.txt"],
        r"5 of 50 tokens are held out; .*too few.*type --batch-size 1, --sequence",
    ),
    "no budget": (["barn.txt", "--epochs", "0"], r"--epochs must be a number above 0 .*; received 0"),
    "endless budget": (["barn.txt", "--epochs", str(10**18)], r"--epochs must be a number above 0 and below"),
    "two budgets": (["barn.txt", "--minutes", "1"], r"--epochs or --steps, such as --minutes 2; received --minutes"),
    "no units": (["barn.txt", "--units", "0"], r"--units must be a number above 0 .*; received 0"),
    "too many units": (["barn.txt", *SMALL, "--units", "1000000000"], r"OOM|memory"),
    "no seed": (["barn.txt", "--seed", "-1"], r"--seed must be a whole number from 0 to 4294967295; received -1"),
    "a name that is a pattern": (["barn.txt", "--name", "a[b]"], r"has one of the characters .*rename it"),
    "output is a broken link": (["barn.txt", "--output", "link"], r"link is no directory that can be written to"),
    "no number": (["barn.txt", "--units", "many"], r"--units.*'many' is not a valid integer"),
    "no cell": (["barn.txt", "--cell", "gru"], r"'gru' is not one of 'lstm', 'rnn'"),
    "all held out": (["barn.txt", "--validation-fraction", "1"], r"--validation-fraction must be between 0 and 1"),
    "a name that is a path": (["barn.txt", "--name", "../up"], r"--name must be a plain name"),
    "unknown option": (["barn.txt", "--color", "red"], r"No such option.*--color"),
    "output is a file": (["barn.txt", "--output", "barn.txt"], r"barn.txt is no directory that can be written to"),
}


def test_score_prints_what_score_returns(trained, command, tmp_path):
    model = tfcharlm.load_model(trained[0])
    (tmp_path / "one.txt").write_text(TEXT[:500])
    status, out, err = command("score", trained[0], tmp_path / "one.txt", "--text", "the old owl")
    assert (status, err) == (0, "")
    for line, text in zip(out.splitlines(), (TEXT[:500], "the old owl"), strict=True):
        expected = model.score(text)
        assert f"{expected['bits_per_character']:.4f} bits per character" in line
        assert f"perplexity {expected['perplexity']:.2f}," in line
        assert f"{expected['log_probability']:.2f} nats of {expected['tokens']:,} tokens" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no text was given; type the path of a text file"),
        (["missing.txt"], "missing.txt"),
        (["--text", "the owl 7"], "'the owl 7': character '7' (U+0037) at position 8"),
    ],
)
def test_score_refuses_in_one_line(trained, command, arguments, message):
    status, out, err = command("score", trained[0], *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


@pytest.mark.parametrize("case", BAD_TRAIN)
def test_train_refuses_in_one_line_and_leaves_nothing(command, tmp_path, case):
    arguments, message = BAD_TRAIN[case]
    (tmp_path / "barn.txt").write_text(TEXT)
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "short.txt").write_text(TEXT[:50])
    (tmp_path / "latin.txt").write_bytes("café, thé".encode("latin-1"))
    (tmp_path / "link").symlink_to("nowhere")
    before = sorted(tmp_path.rglob("*"))
    status, output, error = command("train", "--name", "barn", "--epochs", "1", *arguments)
    assert status == 2
    assert re.search(message, error)
    assert error.count("\n") == 1 and error.startswith("tfcharlm: ")
    assert output == ""
    assert sorted(tmp_path.rglob("*")) == before


BAD_SAMPLE = {
    "unseen character": (
        ["--prompt", "the Żubr"],
        r"prompt: character 'Ż' \(U\+017B\) at position 4 .*; a model goes on only",
    ),
    "negative temperature": (
        ["--temperature", "-1"],
        r"--temperature must be a number from 0 .*; received -1.0",
    ),
    "temperature nan": (["--temperature", "nan"], r"temperature must be a number from 0 .*; received nan"),
    "temperature no number": (["--temperature", "hot"], r"--temperature.*'hot' is not a valid float"),
    "negative length": (["--length", "-1"], r"--length must be a whole number from 0 to 2147483647; received -1"),
    "top_p": (["--top-p", "0"], r"--top-p must be above 0"),
    "top_p that is 0 in float32": (["--top-p", "1e-50"], r"--top-p must be above 0"),
    "length": (["--length", "99999999999"], r"--length must be a whole number from 0 to 2147483647"),
    "half a character": (["--prompt", "a\udcff"], r"--prompt must be UTF-8; received b'a\\xff'"),
    "no samples": (["--count", "0"], r"--count must be a whole number from 1 up; received 0"),
}


@pytest.mark.parametrize("case", BAD_SAMPLE)
def test_sample_refuses_in_one_line(trained, command, case):
    arguments, message = BAD_SAMPLE[case]
    status, output, error = command("sample", trained[0], *arguments)
    assert (status, output) == (2, "")
    assert re.search(message, error)
    assert error.count("\n") == 1 and error.startswith("tfcharlm: ")


@pytest.mark.parametrize("kind", ["missing", "empty directory", "file"])
def test_sample_refuses_what_is_no_model(command, tmp_path, kind):
    path = tmp_path / "model"
    if kind == "empty directory":
        path.mkdir()
    if kind == "file":
        path.write_text("x")
    status, output, error = command("sample", path)
    assert (status, output) == (2, "")
    assert "saved_models/shakespeare" in error and error.count("\n") == 1


def test_an_interruption_keeps_the_best_model_so_far(tmp_path):
    (tmp_path / "barn.txt").write_text(TEXT)
    process = subprocess.Popen(
        [sys.executable, "-m", "tfcharlm_command", "train", "barn.txt", "--epochs", "200", "--name", "barn", *SMALL],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(README.parent), "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    for line in process.stdout:
        if "validation" in line or "Interrupted" in line:
            process.send_signal(signal.SIGINT)  # and once more while the model is being saved
        if "Interrupted" in line:
            break
    output, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, "")
    assert "Model: saved_models/barn/1" in output
    model = tfcharlm.load_model(tmp_path / "saved_models" / "barn")
    assert len(model.generate("the", max_length=10)) == 13
    assert not list((tmp_path / "saved_models" / "barn").glob("*partial*"))


def test_a_run_goes_on_where_it_was_interrupted(command, monkeypatch, tmp_path):
    """And nowhere else; a run that is finished is not run again."""
    (tmp_path / "barn.txt").write_text(TEXT)
    run = ["train", "barn.txt", *SMALL, "--steps", 12, "--checkpoint-seconds", 1e-6]
    status, output, _ = command(*run, "--name", "whole", "--resume")
    assert status == 0 and "no checkpoint in saved_models/whole/checkpoints; the run begins" in output
    print_report, numbers = cli.train._print_report, []

    def interrupt(console, report, number, *others):
        numbers.append(number)
        if len(numbers) == 7:
            raise KeyboardInterrupt
        print_report(console, report, number, *others)

    monkeypatch.setattr(cli.train, "_print_report", interrupt)
    status, output, _ = command(*run, "--name", "barn")
    assert status == 130 and "Saved at step 6; the same command with --resume goes on from there." in output
    for options, message in (
        ([], "saved at step 6; type --resume"),
        (["--resume", "--units", 17], "--units was 16 and"),
    ):
        status, _, error = command(*run, "--name", "barn", *options)
        assert status == 2 and message in error and error.count("\n") == 1
    status, output, _ = command(*run, "--name", "barn", "--resume")
    assert status == 0 and "saved_models/barn/checkpoints: the run goes on after step 6." in output
    assert numbers == [*range(1, 8), *range(7, 13)]
    models = [tfcharlm.load_model(tmp_path / "saved_models" / name) for name in ("whole", "barn")]
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(one, other)
    assert command(*run, "--name", "barn", "--resume")[:2] == (0, "The run is finished. Model: saved_models/barn/2\n")
    (tmp_path / "barn.txt").write_text(TEXT[::-1])
    status, _, error = command(*run, "--name", "barn", "--resume")
    assert status == 2 and "corpus_sha256 was" in error


def test_minutes_choose_what_suits_and_a_resumed_run_keeps_it(command, monkeypatch, tmp_path):
    """On a machine that is found faster when the run goes on."""
    (tmp_path / "barn.txt").write_text(TEXT)
    update, calls = rich.progress.Progress.update, []

    def interrupt(*arguments, **named):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        update(*arguments, **named)

    monkeypatch.setattr(rich.progress.Progress, "update", interrupt)
    asked = mock.Mock(wraps=suited)
    monkeypatch.setattr(cli.train, "suited", asked)
    given = ["--layers", 2, "--weight-drop", 0.25, "--level", "word"]
    run = ["train", "barn.txt", "--minutes", 0.1, "--name", "barn", "--checkpoint-seconds", 1e-6, *given]
    for speed, options, expected in [(1e7, [], 130), (5e12, ["--resume"], 0)]:
        monkeypatch.setattr(cli.train, "measured_speed", lambda speed=speed: speed)
        status, output, _ = command(*run, *options)
        assert status == expected
    assert "the run goes on after step" in output
    words = Vocabulary.from_text(TEXT, level="word")
    sizes = {"tokens": int(len(words.encode(TEXT)) * 0.9), "vocabulary_size": len(words), "layers": 2}
    sizes["characters"] = round(len(TEXT) * 0.9)
    asked.assert_called_once_with(pytest.approx(6), 1e7, **sizes)
    suits = suited(6, 1e7, **sizes) | {"weight_drop": 0.25}
    assert f"To suit: --units {suits['units']} " in output
    assert suits["dropout"] != suited(6, 5e12, **sizes)["dropout"]
    training = json.loads((tmp_path / "saved_models/barn/2/assets.extra/training.json").read_text())
    assert suits.items() <= training.items() and training["layers"] == 2


def test_a_text_that_is_too_short_for_anything_is_one_line(command, tmp_path):
    (tmp_path / "two.txt").write_text("ab")
    status, _, error = command("train", "two.txt", "--minutes", 0.1, "--name", "two")
    assert status == 2 and error.count("\n") == 1 and not (tmp_path / "saved_models").exists()


def test_a_run_that_has_not_saved_yet_keeps_its_directory(command, tmp_path):
    """From a second start of the same command, too."""
    (tmp_path / "barn.txt").write_text(TEXT)
    directory = tmp_path / "saved_models" / "barn" / "checkpoints"
    with contextlib.closing(lock(directory, "another run")):
        status, _, error = command("train", "barn.txt", "--name", "barn", "--epochs", 1, *SMALL)
        assert status == 2 and "another run is running in saved_models/barn/checkpoints" in error
        assert (directory / "lock").exists()


@pytest.mark.parametrize(
    "settings",
    [["--level", "byte", "--cell", "rnn", "--layers", "2"], pytest.param(["--level", "word"], marks=pytest.mark.slow)],
)
def test_every_kind_of_model_is_trained_and_writes(command, tmp_path, settings):
    (tmp_path / "barn [old].txt").write_text(TEXT)
    status, output, _ = command("train", "barn [old].txt", "--name", "barn", "--epochs", 1, *SMALL, *settings)
    assert status == 0 and output.startswith("barn [old].txt: ")
    status, output, _ = command("sample", "saved_models/barn", "--prompt", "the old", "--length", 20, "--seed", 1)
    model = tfcharlm.load_model("saved_models/barn")
    assert (status, output) == (0, model.generate("the old", 20, 0.8, seed=1) + "\n")


def test_neither_an_interruption_nor_a_missing_matplotlib_stops_the_saving(command, monkeypatch, tmp_path):
    """Of the next version, with a curve and no picture."""
    (tmp_path / "barn.txt").write_text(TEXT)
    (tmp_path / "saved_models" / "barn" / "9").mkdir(parents=True)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    def export(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return tfcharlm.artefact.export.export(*arguments)

    monkeypatch.setattr(cli.train, "export", export)
    status, output, _ = command("train", "barn.txt", "--name", "barn", "--epochs", 1, *SMALL)
    assert status == 0 and 'type pip install "tfcharlm[plots]"\n' in output
    assert "Model: saved_models/barn/10\n" in output
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    extra = tmp_path / "saved_models" / "barn" / "10" / "assets.extra"
    assert {path.name for path in extra.iterdir()} == {
        "config.json", "learning_curve.csv", "manifest.json", "training.json",
    }  # fmt: skip


def test_a_full_disk_is_one_line(trained, command, monkeypatch):
    def echo(*arguments, **named):
        if not named.get("err"):
            raise OSError(28, "No space left on device")
        print(*arguments, file=sys.stderr)

    monkeypatch.setattr(cli.click, "echo", echo)
    status, _, error = command("sample", trained[0])
    assert (status, error) == (2, "tfcharlm: [Errno 28] No space left on device\n")


def test_a_model_that_cannot_be_written_where_it_should_is_written_elsewhere(command, monkeypatch, tmp_path):
    (tmp_path / "barn.txt").write_text(TEXT)
    exported = []

    def export(model, directory, records):
        exported.append(directory)
        if len(exported) == 1:
            raise OSError("No space left on device")
        return tfcharlm.artefact.export.export(model, directory, records)

    monkeypatch.setattr(cli.train, "export", export)
    status, output, _ = command("train", "barn.txt", "--name", "barn", "--epochs", 1, *SMALL)
    assert status == 1 and "saved_models/barn cannot be written to (No space left on device)." in output
    assert f"Model: {exported[1]}\n" in output and exported[1].parent.name == "barn"
    tfcharlm.load_model(exported[1])


@pytest.mark.parametrize("value", [np.nan, pytest.param(np.inf, marks=pytest.mark.slow)])
def test_a_diverged_run_is_no_result(command, monkeypatch, tmp_path, value):
    (tmp_path / "barn.txt").write_text(TEXT)
    monkeypatch.setattr("tfcharlm.training.config.log_frequencies", lambda ids, size: np.full(size, value))
    status, _, error = command("train", "barn.txt", "--name", "barn", "--epochs", 1, *SMALL)
    assert status == 2
    assert re.fullmatch(r"tfcharlm: the training diverged within \d+ batches; give a lower --learning-rate .*\n", error)
    assert [path.name for path in tmp_path.iterdir()] == ["barn.txt"]


def shell_commands(text):
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if line.strip() and not line.startswith("#")]


def test_the_commands_of_the_readme(trained, command, tmp_path):
    """`make` has the targets, what trains, tunes and plots parses; what samples is run, on a model of this test."""
    (tmp_path / "saved_models").mkdir()
    for name in ("shakespeare", "plays"):
        (tmp_path / "saved_models" / name).symlink_to(trained[0].parent)
    model = tfcharlm.load_model(trained[0])
    targets = re.findall(r"^([\w-]+):", (README.parent / "Makefile").read_text(), re.MULTILINE)
    seen = set()
    for line in shell_commands(README.read_text()):
        program, *arguments = shlex.split(line.replace("ROMEO:", "the"))
        seen.add(" ".join([program, *arguments[:1]]))
        if program == "make":
            assert set(arguments) <= set(targets)
        elif program == "pip":
            assert arguments == ["install", "-e", ".[corpora,plots]"]
        elif arguments[0] == "train":
            assert parsed(arguments).params["minutes"] == 2
        elif arguments[0] == "plot":
            assert parsed(arguments).params["corpus"] == "shakespeare"
        elif arguments[0] == "tune":
            assert parsed(arguments).params["trials"] == 20
        elif program == "tfcharlm":
            assert command(*arguments) == (0, model.generate("the", 400, 0.6, seed=1) + "\n", "")
        else:
            tool = Path(sys.executable).parent / program
            result = subprocess.run([tool, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
            assert model.generate("the", 60, 0.6, seed=1).replace("\n", "\\n") in result.stdout
    assert seen == {
        "make demo", "make test", "pip install", "saved_model_cli run",
        "tfcharlm train", "tfcharlm sample", "tfcharlm plot", "tfcharlm tune",
    }  # fmt: skip


def test_errors_have_the_names_of_options():
    # But for words that errors use as words.
    assert set(RECIPE) - set(OPTIONS) == {"cell"}


def parsed(arguments):
    """The context of a command line, which click has found nothing wrong with."""
    group, names = cli.commands, list(arguments)
    while hasattr(group, "commands"):
        name = names.pop(0)
        group = group.commands[name]
    return group.make_context(name, names)


def test_the_commands_of_those_who_come_from_elsewhere():
    """The column "Here" of the table in the README."""
    table = re.search(r"## Coming from\n(.*?)\n## ", README.read_text(), re.DOTALL)[1]
    commands = re.findall(r"`tfcharlm ([^`]+)`", table)
    assert len(commands) >= 5
    for line in commands:
        parsed(shlex.split(line))
