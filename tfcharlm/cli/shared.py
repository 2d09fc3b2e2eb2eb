"""Options that several commands share. Those of a training configuration are made from the fields of
`tfcharlm/training/config.py`: a new one is added there.
"""

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from tfcharlm.artefact.directories import check_no_pattern
from tfcharlm.checks import Bounds
from tfcharlm.training.config import OPTIONS, SEARCHED, SUGGESTED, TUNABLE, TrainingConfig
from tfcharlm.training.search_space import SEARCHED_AROUND

errors_option = click.option(
    "--errors",
    default="strict",
    type=click.Choice(["strict", "replace"]),
    help="What to do with bytes of a file that are not UTF-8: stop, or replace them by U+FFFD.",
)


def output_options(command: Callable) -> Callable:
    """Adds --json and --quiet to a command that takes long."""
    command = click.option(
        "--quiet", is_flag=True, help="Print nothing but errors; with --json, nothing but reports and errors."
    )(command)
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print a JSON object in a line for each report, and no progress bar. What it is about is under report.",
    )(command)


def config_option(name: str, default: Any = None, help_suffix: str = "") -> Callable:
    """The option for a field of `TrainingConfig`. Its value is `default` if the user does not give it."""
    field, flag = OPTIONS[name], "--" + name.replace("_", "-")
    values = field.metadata["values"]
    kind: Any = type(getattr(TrainingConfig, name))
    if values is None:
        flag, kind = f"{flag}/--no-{flag[2:]}", None
    elif not isinstance(values, Bounds):
        kind = click.Choice(values)
    elif kind is type(None):
        kind = int if values.whole else float
    text = field.metadata["help"]
    return click.option(flag, name, type=kind, default=default, help=f"{text[0].upper()}{text[1:]}.{help_suffix}")


def config_options(command: Callable) -> Callable:
    """Adds the tunable options of a `TrainingConfig`. An option that the user does not give is None."""
    for name in reversed(TUNABLE):
        default = getattr(TrainingConfig, name)
        otherwise = f"suited to --minutes, else {default}" if name in SUGGESTED else f"{default}".lower()
        command = config_option(name, help_suffix=f"  [default: {otherwise}]")(command)
    return command


def examples(*lines: str) -> str:
    """The end of a help text: commands, each in a line of its own."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


class Text(click.ParamType):
    """A text. Where the locale is not UTF-8, such as C, its bytes are still those that the user typed."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value == value.encode("utf-8", "ignore").decode():
            return value
        try:
            return os.fsencode(value).decode("utf-8")
        except UnicodeDecodeError as error:
            received = repr(error.object)
        except UnicodeEncodeError:
            received = repr(value)
        option = param.opts[0] if param else "the text"
        raise click.UsageError(f"{option} must be UTF-8; received {received:.200}.")


class Values(click.ParamType):
    """One value, which fixes an option, or several separated by commas, from which a search chooses."""

    def __init__(self, name: str) -> None:
        self.kind = type(getattr(TrainingConfig, name))
        self.name = {int: "integer", float: "number", str: "text", bool: "boolean"}[self.kind] + "[,...]"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> list:
        try:
            parse: Any = {"true": True, "false": False}.__getitem__ if self.kind is bool else self.kind
            return [parse(part) for part in value.split(",")]
        except (KeyError, ValueError):
            self.fail(f"received {value!r}; type one value, or several separated by commas, such as 64,128.")


def searched_options(command: Callable) -> Callable:
    """Adds the options that fix or narrow what a search chooses."""
    first = dict.fromkeys((*SEARCHED, *SEARCHED_AROUND))
    for name in reversed((*first, *(name for name in TUNABLE if name not in first))):
        default = str(getattr(TrainingConfig, name)).lower()
        with_minutes = "searched" if name in SEARCHED_AROUND else default
        otherwise = "searched" if name in SEARCHED else default
        otherwise = otherwise if with_minutes == otherwise else f"{with_minutes} with --minutes, else {otherwise}"
        text = OPTIONS[name].metadata["help"]
        text = f"{text[0].upper()}{text[1:]}.  [default: {otherwise}]"
        command = click.option(f"--{name.replace('_', '-')}", type=Values(name), help=text)(command)
    return command


def as_options(settings: Mapping[str, Any]) -> str:
    """Settings as the user would type them on the command line."""

    def option(name: str, value: Any) -> str:
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            return flag if value else f"--no-{flag[2:]}"
        return f"{flag} {value:.6g}" if isinstance(value, float) else f"{flag} {value}"

    return " ".join(option(name, value) for name, value in settings.items())


def printable(line: str) -> str:
    """A line of a text or of a file, of which a terminal takes nothing for a command."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def check_writable(directory: Path, name: str) -> None:
    """Raises a ValueError if no model of this name can be written to this directory."""
    if not name or Path(name).name != name or name.startswith(".") or not name.isprintable():
        raise ValueError(f"--name must be a plain name such as shakespeare; received {name!r}.")
    directory = directory.absolute()
    if not str(directory).isprintable():
        raise ValueError(f"--output must be a path of printable characters; received {str(directory)!r}.")
    # Raises an error for a name that is too long now, and not later, when there is a model to lose.
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        directory.lstat()
    check_no_pattern(directory)
    existing = next(path for path in (directory, *directory.parents) if os.path.lexists(path))
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise ValueError(f"{existing} is not a directory that can be written to; give another one with --output.")
