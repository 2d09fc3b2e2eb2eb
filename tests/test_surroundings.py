"""What is around a process: no docstrings, locales without UTF-8, no home, little memory, a clock that jumps."""

import ast
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import pytest
import tensorflow as tf
from helpers.command_line import BARN
from helpers.processes import environment

import tfcharlm
import tfcharlm_command
from tfcharlm import cli
from tfcharlm.cli import UserError
from tfcharlm.cli.shared import Text
from tfcharlm.commands.errors import one_line_errors

PACKAGE = Path(tfcharlm.__file__).parent
COMMAND = ["-m", "tfcharlm_command"]
TRAIN = ["train", "barn.txt", "--steps", "3", "--units", "8", "--embedding-dim", "8", "--batch-size", "4"]
# As C is where Python may not choose UTF-8 by itself.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def run(*arguments, options=(), directory=None, **variables):
    """The exit status, standard output and standard error, in bytes, of a command in a process of its own."""
    result = subprocess.run(
        [sys.executable, *options, *COMMAND, *map(str, arguments)],
        env=environment(**variables), cwd=directory, capture_output=True,
    )  # fmt: skip
    return result.returncode, result.stdout, result.stderr


# -- no docstrings


def commands(command=cli.commands, name="tfcharlm"):
    yield name, command
    for inner, inner_command in getattr(command, "commands", {}).items():
        yield from commands(inner_command, f"{name} {inner}")


def test_no_help_is_a_docstring():
    """With -OO there would be none."""
    missing = [name for name, command in commands() if len((command.help or "").split()) < 5]
    assert missing == [] and [name for name, command in commands() if command.callback.__doc__] == []


def test_nothing_is_checked_by_an_assertion():
    """With -O there would be no check. An assertion may tell mypy what is known."""
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert) and not ast.unparse(node.test).endswith(" is not None")
    ]
    assert found == []


PROGRAM_WITHOUT_DOCSTRINGS = """
import sys
import keras, tfcharlm
from tfcharlm import cli
from tfcharlm.training import TrainingConfig

assert False  # which does not run
print(tfcharlm.testing.check_cell(tfcharlm.RNNCell(3)).names("failed"))
try:
    TrainingConfig(steps=0)
except ValueError as error:
    print(error)
sys.argv = ["tfcharlm", "train", "--help"]
cli.main()
"""


@pytest.mark.slow
def test_everything_works_without_docstrings(tmp_path):
    (tmp_path / "barn.txt").write_text(BARN)
    result = subprocess.run(
        [sys.executable, "-OO", "-c", PROGRAM_WITHOUT_DOCSTRINGS], env=environment(), capture_output=True, text=True
    )
    lines = result.stdout.splitlines()
    assert lines[0] == "[]" and lines[1].startswith("steps must be a whole number from 1 ")
    assert "Train a model on CORPUS" in result.stdout and "Seconds between checkpoints." in result.stdout
    status, output, error = run(*TRAIN, "--name", "x", options=["-OO"], directory=tmp_path)
    assert (status, error) == (0, b"") and b"Model: saved_models/x/1" in output


# -- locales


@pytest.mark.parametrize(
    ("typed", "text"),
    [("to be", "to be"), ("é", "é"), ("\udcc3\udca9", "é"), ("a\udcf0\udc9f\udc98\udc80b", "a\U0001f600b")],
    ids=ascii,
)
def test_what_is_typed_in_utf_8_is_read_in_any_locale(typed, text):
    """Where the locale is not UTF-8, Python makes a lone surrogate of every byte beyond ASCII."""
    assert Text()(typed) == text


@pytest.mark.parametrize("typed", ["a\udcff", "\udcc3", "\ud83d"], ids=ascii)
def test_what_is_typed_in_another_encoding_is_refused(typed):
    option = click.Option(["--prompt"], type=Text())
    with pytest.raises(click.UsageError) as error:
        option.type_cast_value(click.Context(cli.commands), typed)
    assert error.value.message.startswith("--prompt must be UTF-8; received ") and error.value.message.isascii()


@pytest.mark.slow
@pytest.mark.parametrize("locale", [ASCII, ASCII | {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}])
def test_texts_are_read_and_written_in_any_locale(tmp_path, locale):
    text = "être ou ne pas être — 😀\n" * 30
    (tmp_path / "barn.txt").write_text(text, encoding="utf-8")
    status, output, error = run(*TRAIN, "--sequence-length", "16", "--name", "x", directory=tmp_path, **locale)
    assert (status, error) == (0, b""), error
    arguments = ["--length", "20", "--seed", "1", "--prompt", "être", "--temperature", "0.9"]
    status, output, error = run("sample", "saved_models/x", *arguments, directory=tmp_path, **locale)
    expected = tfcharlm.load_model(tmp_path / "saved_models" / "x").generate("être", 20, temperature=0.9, seed=1)
    # Click takes ASCII for a mistake, and writes UTF-8.
    encoding = "latin-1" if locale.get("PYTHONIOENCODING") == "latin-1" else "utf-8"
    assert (status, output, error) == (0, f"{expected}\n".encode(encoding, "backslashreplace"), b"")
    status, output, error = run("score", "saved_models/x", "barn.txt", "--text", "être", directory=tmp_path, **locale)
    assert (status, error) == (0, b"") and output.count(b"bits per character") == 2


# -- no home


@pytest.mark.slow
def test_no_home_is_needed(tmp_path):
    """Not even by a picture: matplotlib would like to keep the names of fonts there."""
    (tmp_path / "barn.txt").write_text(BARN)
    # Nobody can make a directory there, not even root.
    nowhere = {"HOME": "/proc/nowhere"}
    status, _, error = run(*TRAIN, "--name", "x", directory=tmp_path, **nowhere)
    assert (status, error) == (0, b"")
    status, output, error = run("plot", "curve", "saved_models/x", directory=tmp_path, **nowhere)
    assert (status, output, error) == (0, b"Written: curve.png\n", b"")


# -- no directory to write to


def test_no_directory_is_needed_to_hold_messages_back(monkeypatch, capfd):
    """Keras needs one when it is imported. That is then the error, in one line."""
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", "/no/such/directory")
        with tfcharlm_command._quiet_standard_error():
            os.write(2, b"held back")
        with pytest.raises(ImportError), tfcharlm_command._quiet_standard_error():
            os.write(2, b"shown")
            raise ImportError
    assert capfd.readouterr().err == "shown"


# -- little memory


def test_less_address_space_than_tensorflow_needs_is_one_line(monkeypatch, capsys):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1_000 << 20, resource.RLIM_INFINITY))
    with pytest.raises(SystemExit) as stop:
        tfcharlm_command.start()
    expected = "tfcharlm: the limit of the address space must be 2,816 MiB or more for TensorFlow; received 1,000 MiB. "
    assert (stop.value.code, capsys.readouterr().err) == (2, expected + "Type ulimit -v unlimited.\n")


@pytest.mark.slow
def test_little_address_space_is_one_line_or_enough():
    for limit in (500, 1_500, 2_500, 2_930):
        command = f"ulimit -v {limit << 10}; exec {sys.executable} -m tfcharlm_command sample names --length 5 --seed 1"
        result = subprocess.run(["bash", "-c", command], env=environment(), capture_output=True, text=True, timeout=120)
        lines = result.stderr.splitlines()
        if limit < 2_816:
            assert (result.returncode, len(lines)) == (2, 1) and lines[0].startswith("tfcharlm: the limit of ")
        else:
            assert (result.returncode, lines) == (0, [])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), "there is not enough memory; free some, "),
        (MemoryError("Unable to allocate 1 TiB for an array with shape (3, 5) and data"), "an array of shape (3, 5); "),
        (tf.errors.ResourceExhaustedError(None, None, "{{x}} OOM when allocating tensor with shape[8,20]"), "[8,20]; "),
    ],
)  # fmt: skip
def test_memory_that_is_exhausted_is_one_line(error, expected):
    with pytest.raises(UserError) as raised, one_line_errors():
        raise error
    message = raised.value.format_message()
    assert message.startswith("there is not enough memory") and expected in message and "smaller model" in message


# -- a clock that jumps


def test_durations_are_measured_by_clocks_that_never_jump():
    calls = {"time.time", "time.time_ns", "time.localtime", "datetime.now", "datetime.utcnow", "datetime.today"}
    found = [
        f"{path.name}: {ast.unparse(node)}"
        for path in [*PACKAGE.rglob("*.py"), Path(tfcharlm_command.__file__)]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node).removeprefix("datetime.") in calls
    ]
    # The age of a file is the only thing that is compared with the clock of the machine; responses have a date.
    assert sorted(found) == ["atomic_files.py: time.time", "requests.py: time.time"]


@pytest.mark.slow
def test_a_clock_that_jumps_does_not_change_the_time_of_a_run(command, tmp_path, monkeypatch):
    """An hour forwards at one call of the clock, an hour back at the next."""
    (tmp_path / "barn.txt").write_text(BARN)
    clock, calls = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: clock() + 3600 * (-1) ** next(calls))
    status, output, error = command("train", "barn.txt", "--minutes", "0.2", "--units", "8", "--name", "x")
    assert (status, error) == (0, "")
    times = [line[:5].split(":") for line in output.splitlines() if "M tokens" in line]
    seconds = [60 * int(minute) + int(second) for minute, second in times]
    assert seconds == sorted(seconds) and seconds and seconds[-1] < 60
