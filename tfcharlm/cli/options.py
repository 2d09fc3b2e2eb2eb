"""Options that several commands share. Those of a training configuration come from its fields."""

import contextlib
import os
from pathlib import Path

import click

from tfcharlm.artefact import check_no_pattern
from tfcharlm.checks import Bounds
from tfcharlm.training import OPTIONS, SUGGESTED, TUNABLE, TrainingConfig
from tfcharlm.tuning import SEARCHED

errors_option = click.option(
    "--errors",
    default="strict",
    type=click.Choice(["strict", "replace"]),
    help="What to do with bytes of a file that are not UTF-8: stop, or read U+FFFD.",
)


def config_option(name, default=None, help_suffix=""):
    """The option for a field of `TrainingConfig`; its value is `default` if it is not typed."""
    field, flag = OPTIONS[name], "--" + name.replace("_", "-")
    values, kind = field.metadata["values"], type(getattr(TrainingConfig, name))
    if values is None:
        flag, kind = f"{flag}/--no-{flag[2:]}", None
    elif not isinstance(values, Bounds):
        kind = click.Choice(values)
    elif kind is type(None):
        kind = int if values.whole else float
    text = field.metadata["help"]
    return click.option(flag, name, type=kind, default=default, help=f"{text[0].upper()}{text[1:]}.{help_suffix}")


def config_options(command):
    """The tunable options of a `TrainingConfig`; None where nothing is typed."""
    for name in reversed(TUNABLE):
        default = getattr(TrainingConfig, name)
        otherwise = f"by --minutes, else {default}" if name in SUGGESTED else f"{default}".lower()
        command = config_option(name, help_suffix=f"  [default: {otherwise}]")(command)
    return command


class Values(click.ParamType):
    """One value, which is fixed, or several separated by commas, from which a search chooses."""

    def __init__(self, name):
        self.kind = type(getattr(TrainingConfig, name))
        self.name = {int: "integer", float: "number", str: "text", bool: "boolean"}[self.kind] + "[,...]"

    def convert(self, value, param, ctx):
        try:
            parse = {"true": True, "false": False}.__getitem__ if self.kind is bool else self.kind
            return [parse(part) for part in value.split(",")]
        except (KeyError, ValueError):
            self.fail(f"received {value!r}; type one value, or several separated by commas, such as 64,128.")


def searched_options(command):
    """The options that fix or narrow what a search chooses."""
    for name in reversed((*SEARCHED, *(name for name in TUNABLE if name not in SEARCHED))):
        default = str(getattr(TrainingConfig, name)).lower()
        otherwise = "searched" if name in SEARCHED else default
        text = f"One value, or several to choose from, such as {default},...  [default: {otherwise}]"
        command = click.option(f"--{name.replace('_', '-')}", type=Values(name), help=text)(command)
    return command


def as_options(settings):
    """Settings as one would type them."""

    def option(name, value):
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            return flag if value else f"--no-{flag[2:]}"
        return f"{flag} {value:.6g}" if isinstance(value, float) else f"{flag} {value}"

    return " ".join(option(name, value) for name, value in settings.items())


def check_writable(directory, name):
    """Raises a ValueError if no model of this name can be written to this directory."""
    if not name or Path(name).name != name or name.startswith(".") or not name.isprintable():
        raise ValueError(f"--name must be a plain name such as shakespeare; received {name!r}.")
    directory = directory.absolute()
    if not str(directory).isprintable():
        raise ValueError(f"--output must be a path of printable characters; received {str(directory)!r}.")
    # A name that is too long is an error now, and not when there is a model to lose.
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        directory.lstat()
    check_no_pattern(directory)
    existing = next(path for path in (directory, *directory.parents) if os.path.lexists(path))
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise ValueError(f"{existing} is not a directory that can be written to; give another one with --output.")
