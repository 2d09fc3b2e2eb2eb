"""Options that several commands of `tfcharlm plot` share."""

import functools
from collections.abc import Callable
from pathlib import Path

import click

from tfcharlm.cli.shared import Text, errors_option

# How many tokens a picture shows by default.
SHOWN_IN_TEXT, SHOWN_IN_HEAT_MAP = 2000, 120


def output_option(default: str, help: str) -> Callable:
    """The option --output."""
    return click.option("--output", default=default, type=click.Path(path_type=Path), help=help)


def reads_a_text(length: int, as_argument: bool = False) -> Callable:
    """The options of a command that reads `length` characters of a text by default.

    The corpus is an option, or an argument that may be left out.
    """
    corpus = "The text to read, given as for train (usually the path of a UTF-8 file)."
    options = (
        click.argument("corpus", required=False) if as_argument else click.option("--corpus", help=corpus),
        errors_option,
        click.option(
            "--text", type=Text(), help=f"The text itself, instead of {'CORPUS' if as_argument else '--corpus'}."
        ),
        click.option(
            "--begin", default=0, type=click.IntRange(min=0), help="Number of characters to skip at the start."
        ),
        click.option("--length", default=length, type=click.IntRange(min=1), help="Number of characters to read."),
    )
    return lambda command: functools.reduce(lambda made, option: option(made), reversed(options), command)


def picks_units(multiple: bool, help: str) -> Callable:
    """The options of a command that shows units."""
    options = (
        click.option(
            "--layer", default=0, type=click.IntRange(min=0), help="Number of the recurrent layer; 0 is the bottom one."
        ),
        click.option("--unit", type=click.IntRange(min=0), multiple=multiple, help=help),
        click.option(
            "--show",
            type=click.IntRange(min=1),
            help=f"Number of tokens to show.  [default: {SHOWN_IN_TEXT:,} as colored text, "
            f"{SHOWN_IN_HEAT_MAP} in a picture]",
        ),
    )
    return lambda command: functools.reduce(lambda made, option: option(made), reversed(options), command)
