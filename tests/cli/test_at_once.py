"""Help, mistakes and the picture of a learning curve are answered without TensorFlow, which takes seconds to import."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tfcharlm
import tfcharlm_command
from tfcharlm import cli

MODELS = Path(__file__).parents[2] / "saved_models"
# Runs the command line, and says at the end which of these packages were imported.
HEAVY = ("tensorflow", "keras", "keras_tuner", "grpc", "rich", "scipy")
SCRIPT = f"""
import atexit, sys
atexit.register(lambda: print("imported:", *[name for name in {HEAVY} if name in sys.modules]))
import tfcharlm_command
sys.argv[0] = "tfcharlm"
tfcharlm_command.main()
"""


def answered(arguments, directory, **more):
    """`(status, standard output, standard error)` of a command that has not imported any of `HEAVY`."""
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)], cwd=directory, capture_output=True, text=True, **more
    )
    *lines, imported = ran.stdout.splitlines()
    assert imported.split() == ["imported:"], (imported, ran.stderr)
    return ran.returncode, "\n".join(lines), ran.stderr


def names_of_commands(group, before=()):
    yield list(before)
    for name, command in getattr(group, "commands", {}).items():
        yield from names_of_commands(command, (*before, name))


@pytest.mark.parametrize("words", list(names_of_commands(cli.commands)), ids=" ".join)
def test_every_command_may_be_verbose(words):
    command = cli.commands
    for word in words:
        command = command.commands[word]
    assert [option.opts for option in command.params].count(["-v", "--verbose"]) == 1


def test_a_log_line_that_nobody_reads_ends_nothing(monkeypatch):
    def gone(*arguments, **options):
        raise BrokenPipeError

    monkeypatch.setattr(cli.click, "echo", gone)
    monkeypatch.setattr(cli.logging, "raiseExceptions", False)
    cli.LogLines().emit(cli.logging.makeLogRecord({"msg": "a line"}))


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("words", "status"), [("--help", 0), ("trian", 2)])
def test_outputs_may_be_closed(closed, words, status, tmp_path):
    ran = subprocess.run(
        f"{sys.executable} -m tfcharlm_command {words} {closed}",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == status and "Traceback" not in ran.stderr


@pytest.mark.parametrize("words", list(names_of_commands(cli.commands)), ids=" ".join)
def test_help(words, tmp_path):
    status, output, error = answered([*words, "--help"], tmp_path)
    assert (status, error) == (0, "") and output.startswith(" ".join(["Usage: tfcharlm", *words]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "No such command 'trian'."),
        (["train", "barn.txt"], "Missing option '--name'."),
        (["train", "barn.txt", "--name", "x", "--minutes", "1", "--units", "many"], "'many' is not a valid integer."),
        (["train", "barn.txt", "--name", "x"], "exactly one of --minutes, --epochs and --steps must be given"),
        (["train", "barn.txt", "--name", "x", "--steps", "9", "--dropout", "1.5"], "--dropout must be a number from 0"),
        (["train", "nothing.txt", "--name", "x", "--steps", "9"], "no file 'nothing.txt'"),
        (["train", "barn.txt", "--name", "a/b", "--steps", "9"], "--name must be a plain name"),
        (["train", "barn.txt", "--name", "x", "--steps", "9", "--from", "nothing"], "nothing is not a directory"),
        (["sample", "nothing"], "nothing is not a directory"),
        (["sample", "names", "--count", "0"], "--count must be a whole number from 1 up"),
        (["score", "names"], "no text was given"),
        (["score", "names", "nothing.txt"], "no file 'nothing.txt'"),
        (["tune", "nothing.txt", "--name", "x", "--steps", "9"], "no file 'nothing.txt'"),
        (["tune", "barn.txt", "--name", "x", "--units", "a,b"], "type one value, or several separated by commas"),
        (["tune", "barn.txt", "--name", "x"], "give either --minutes or --steps for a trial"),
        (["tune", "barn.txt", "--name", "x", "--minutes", "1", "--cell", "ntm"], "cell must be one of lstm, gru"),
        (["tune", "barn.txt", "--name", "x", "--minutes", "1", "--units", "-5"], "--units must be a whole number"),
        (["tune", "barn.txt", "--name", "x", "--steps", "1", "--num-evaluations", "0"], "--num-evaluations must be"),
        (["sample", "names", "--temperature", "-1"], "--temperature must be a number from 0 up"),
        (["sample", "names", "--prompt", "a", "--prompt-file", "b"], "give either --prompt or --prompt-file"),
        (["plot", "units", "names"], "give a text to read: either --corpus"),
        (["export", "names", "names.html", "--int8", "--float16"], "--int8 and --float16 exclude each other"),
        (["export", "nothing", "names.html"], "nothing is not a directory"),
        (["inspect", "nothing"], "nothing is not a directory"),
        (["serve", "nothing"], "nothing is not a directory"),
        (["serve", "names", "--host", "0.0.0.0"], "--host 0.0.0.0 lets other machines in, which needs a key"),
        (["serve", "names", "--host", "no.such.host.invalid"], "lets other machines in, which needs a key"),
        (["serve", "names", "--host", "no.such.host.invalid", "--api-key", "12345678"], "--port 8000 cannot be used"),
        (["sample", "names", "--length", "-1"], "--length must be a whole number from 0"),
        (["sample", "names", "--seed", "1" * 30], "--seed must be a whole number from -9223372036854775808"),
        (["sample", "names", "--prompt-file", "nothing.txt"], "no file 'nothing.txt'"),
        (["sample", "names", "--novelty", "nothing*.txt"], "no file matches 'nothing*.txt'"),
        (["export", "names", "barn.txt", "--format", "html"], "barn.txt exists already; remove it or choose another"),
        (["train", "nothing/*.txt", "--name", "x", "--steps", "9"], "no file matches 'nothing/*.txt'"),
        (
            ["train", "barn.txt", "--name", "x", "--steps", "9", "--separator", "|"],
            "--separator '|' needs --lines, too",
        ),
        (
            ["train", "barn.txt", "--name", "x", "--steps", "9", "--lines", "--join"],
            "--lines and --join contradict each",
        ),
        (["plot", "units", "nothing", "--corpus", "barn.txt"], "nothing is not a directory"),
        (["plot", "surprise", "names", "nothing.txt"], "no file 'nothing.txt'"),
        (["plot", "gradients", "names", "--output", "x.txt"], "--output must end in .png or .svg"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes(arguments, message, tmp_path):
    (tmp_path / "barn.txt").write_text("the cow said yes\n" * 50)
    status, output, error = answered(arguments, tmp_path)
    assert (status, output) == (2, "") and error.startswith("tfcharlm: ") and message in error
    assert error.count("\n") == 1


def test_the_version(tmp_path):
    status, output, error = answered(["--version"], tmp_path)
    assert (status, error) == (0, "") and output.startswith("tfcharlm, version ")


def test_a_learning_curve(tmp_path):
    status, output, error = answered(["plot", "curve", MODELS / "shakespeare", "--output", "curve.png"], tmp_path)
    assert (status, output, error) == (0, "Written: curve.png", "")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_completion_in_a_shell(tmp_path):
    environment = os.environ | {"_TFCHARLM_COMPLETE": "bash_complete", "COMP_WORDS": "tfcharlm t", "COMP_CWORD": "1"}
    status, output, _ = answered([], tmp_path, env=environment)
    assert status == 0 and [line.split(",")[1] for line in output.splitlines()] == ["train", "tune"]


def test_importing_the_package_imports_no_more_than_it_needs():
    """Keras itself imports rich."""
    heavy = ("keras_tuner", "grpc", "matplotlib", "click", "fastapi", "onnx")
    script = f"import sys, tfcharlm; print([name for name in {heavy} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_after_the_checks_the_whole_package_is_imported(tmp_path):
    """What was imported without its package is not mixed with what is imported with it."""
    shutil.copytree(MODELS / "names", tmp_path / "names")
    script = (
        "import sys, tfcharlm_command; sys.argv = ['tfcharlm', 'sample', 'names', '--length', '9', '--seed', '1']\n"
    )
    script += "import atexit; atexit.register(lambda: print(sys.modules['tfcharlm'].__version__, *sorted(\n"
    script += "    name for name in sys.modules if name in\n"
    script += (
        "    ('tfcharlm.model', 'keras_tuner', 'matplotlib', 'fastapi', 'uvicorn', 'prometheus_client', 'onnx'))))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script + "tfcharlm_command.main()"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    *_, last = ran.stdout.splitlines()
    assert last.split()[1:] == ["tfcharlm.model"]


def test_starting_leaves_an_imported_package_alone(monkeypatch):
    """Of a program that calls `main` itself."""
    monkeypatch.setattr(tfcharlm, "configure_threads", lambda: None)
    before = dict(sys.modules)
    tfcharlm_command.start()
    assert {name: module for name, module in sys.modules.items() if name in before} == before
