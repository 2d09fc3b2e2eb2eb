"""Commands that the pages show: each of them is one that the command line takes."""

import configparser
import re
import shlex
from pathlib import Path

import pytest
from helpers.command_line import parsed, shell_commands
from tensorflow.python.tools import saved_model_cli

from tfcharlm import cli

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "saved_models" / "README.md",
    *(ROOT / "docs").glob("*.md"),
]
COMMANDS = [(page.name, command) for page in PAGES for command in shell_commands(page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_can_be_typed(page):
    """`make` has the targets, `pip` finds the extras, benchmarks are there, and `tfcharlm` takes the arguments."""
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    # Not by a pattern: a source distribution has this file in another layout.
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    extras = settings["options.extras_require"]
    for program, *arguments in shell_commands(page.read_text()):
        if program == "make":
            assert {argument for argument in arguments if "=" not in argument} <= set(targets)
        elif program == "tfcharlm":
            parsed(arguments)
        elif program == "python" and arguments[0].startswith("benchmarks/"):
            assert (ROOT / arguments[0]).is_file()
        elif "pip" in (program, *arguments):
            for extra in re.findall(r"\[([\w,]+)\]", " ".join(arguments)):
                assert set(extra.split(",")) <= set(extras)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_options_in_the_text_exist(page):
    for line in re.findall(r"`tfcharlm ([^`]+)`", page.read_text()):
        name, *words = shlex.split(line)
        commands = cli.commands if name.startswith("--") else cli.commands.commands[name]
        words = [name, *words] if commands is cli.commands else words
        if commands is not cli.commands and hasattr(commands, "commands") and words:
            commands = commands.commands[words[0]]
        known = {flag for parameter in commands.params for flag in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= known | {"--help"}, line


def test_the_commands_of_those_who_come_from_elsewhere():
    commands = re.findall(r"\| `tfcharlm ([^`]+)`", (ROOT / "docs" / "migration.md").read_text())
    assert len(commands) >= 5
    for line in commands:
        parsed(shlex.split(line))


def test_what_the_readme_samples_is_sampled(exported, model, command, tmp_path):
    """With a model of this test in the place of the one that two minutes make."""
    (tmp_path / "saved_models").mkdir()
    (tmp_path / "saved_models" / "plays").symlink_to(exported.parent)
    (line,) = [
        line
        for page, line in COMMANDS
        if page == "README.md" and line[:3] == ["tfcharlm", "sample", "saved_models/plays"]
    ]
    arguments = [argument.replace("ROMEO:", "the") for argument in line[1:]]
    expected = model.generate("the", 400, 0.6, seed=1) + "\n"
    assert command(*arguments) == (0, expected, "")


def test_tensorflows_own_command_generates_the_same_text(exported, model, monkeypatch, capsys, tmp_path):
    """As the page about exports types it, in this process."""
    (line,) = [line for _, line in COMMANDS if line[0] == "saved_model_cli"]
    (tmp_path / "saved_models").mkdir()
    (tmp_path / "saved_models" / "shakespeare").symlink_to(exported.parent)
    monkeypatch.chdir(tmp_path)
    # What its `main` does between setting up logging and leaving the process.
    saved_model_cli.create_parser().parse_args([argument.replace("ROMEO:", "the") for argument in line[1:]]).func()
    # The command prints bytes.
    expected = repr(model.generate("the", 60, 0.6, seed=1).encode())[2:-1]
    assert expected in capsys.readouterr().out
