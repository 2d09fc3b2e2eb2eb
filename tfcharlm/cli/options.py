"""What several commands take."""

import contextlib
import os
from pathlib import Path

import click

from tfcharlm.callbacks import SCHEDULES
from tfcharlm.export import check_no_pattern
from tfcharlm.recipe import CELLS, TrainingConfig
from tfcharlm.suited import SUITED
from tfcharlm.tuning.hypermodel import CHOOSABLE, GIVEN

errors_option = click.option(
    "--errors",
    default="strict",
    type=click.Choice(["strict", "replace"]),
    help="What a byte of a file that is not UTF-8 is: an error, or U+FFFD.",
)

# Of a `TrainingConfig`, in the order of the help.
RECIPE = {
    "cell": "Kind of recurrent cell.",
    "units": "Size of each recurrent layer.",
    "layers": "Number of recurrent layers.",
    "embedding_dim": "Length of a token's vector.",
    "skip_connections": "Upper layers read the tokens, too, the head all layers.",
    "cap_input_gate": "An LSTM lets in at most what it forgets.",
    "dropout": "Share of the layers' outputs left out in training.",
    "input_dropout": "Share of the tokens' vectors left out in training.",
    "weight_drop": "Share of the recurrent weights left out in training.",
    "batch_size": "Number of parallel streams.",
    "sequence_length": "Tokens that gradients reach back.",
    "reset_rate": "Share of the chunks that begin without a state.",
    "learning_rate": "Peak of Adam's learning rate.",
    "schedule": "How the rate falls.",
    "clip_norm": "Limit of the gradients' global norm.",
    "weight_decay": "What a matrix loses of itself in a step, times the learning rate.",
    "ema_momentum": "Of the average of the weights that is evaluated and exported; 0: none.",
    "frequency_bias": "The softmax starts from the tokens' frequencies.",
    "random_offset": "A pass over the text begins at a place of its own.",
}
CHOICES = {"cell": list(CELLS), "schedule": list(SCHEDULES)}


def check_writable(directory, name):
    """Raises a ValueError if no model of this name could be written to this directory."""
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
        raise ValueError(f"{existing} is no directory that can be written to; give another one with --output.")


def typed(settings):
    """Settings as one would type them."""

    def option(name, value):
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            return flag if value else f"--no-{flag[2:]}"
        return f"{flag} {value:.6g}" if isinstance(value, float) else f"{flag} {value}"

    return " ".join(option(name, value) for name, value in settings.items())


def recipe_options(command):
    """The options of a recipe; None where nothing is said."""
    for name, said in reversed(RECIPE.items()):
        default, flag = getattr(TrainingConfig, name), "--" + name.replace("_", "-")
        otherwise = f"by --minutes, else {default}" if name in SUITED else f"{default}".lower()
        if isinstance(default, bool):
            flag, kind = f"{flag}/--no-{flag[2:]}", None
        else:
            kind = click.Choice(CHOICES[name]) if name in CHOICES else type(default)
        command = click.option(flag, name, type=kind, default=None, help=f"{said}  [default: {otherwise}]")(command)
    return command


class Values(click.ParamType):
    """One value, which is fixed, or several with commas between, of which a search chooses."""

    def __init__(self, name):
        self.kind = type(getattr(TrainingConfig, name))
        self.name = {int: "integer", float: "number", str: "text", bool: "boolean"}[self.kind] + "[,...]"

    def convert(self, value, param, ctx):
        try:
            parse = {"true": True, "false": False}.__getitem__ if self.kind is bool else self.kind
            return [parse(part) for part in value.split(",")]
        except (KeyError, ValueError):
            self.fail(f"received {value!r}; type one value, or several with commas between, such as 64,128.")


def searched_options(command):
    """The options that fix or narrow what a search chooses."""
    for name in reversed(CHOOSABLE):
        default = str(getattr(TrainingConfig, name)).lower()
        otherwise = default if name in GIVEN else "searched"
        said = f"Fix it, or choose among several, such as {default},...; not given: {otherwise}."
        command = click.option(f"--{name.replace('_', '-')}", type=Values(name), help=said)(command)
    return command
