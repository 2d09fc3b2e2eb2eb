"""Errors of the command line: one line each, with options as the user types them."""

import contextlib
import re
from collections.abc import Iterator

import click

from tfcharlm.generation.sampling_settings import Sampling
from tfcharlm.training.config import OPTIONS

# Options whose names are also words of error messages, as in "a cell with an input gate". They are replaced only in
# front of "=".
WORDS = ("cell", "level", "lines", "separator", "join")
# The Python name of an argument, and its option on the command line.
FLAGS: dict[str, str] = {
    name: "--" + name.replace("_", "-")
    for name in (*OPTIONS, *Sampling._fields, "errors", "num_evaluations", "trials", "lines", "separator", "join")
    if name not in WORDS
} | {"max_length": "--length"}
INPUT_ERRORS = (ValueError, OSError, ImportError)


class UserError(click.ClickException):
    """An error that the user can fix. It is one line on standard error, with an exit status."""

    status = exit_code = 2


@contextlib.contextmanager
def one_line_errors(kinds: tuple[type[Exception], ...] = INPUT_ERRORS) -> Iterator[None]:
    """Turns exceptions of these kinds into a `UserError` with their message in one line."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader, such as `head`, has closed the pipe; click then exits without a message
    except kinds as error:
        raise UserError(as_typed(str(error))) from error


def as_typed(message: str) -> str:
    """A message in one line, in which the arguments of Python have the names of their options."""
    message = " ".join(message.split())
    # Only whole words are replaced, not parts of a file name.
    names = re.compile(rf"(?<![^ ])({'|'.join(FLAGS)})(?:(=)|(?=[ ,;]))")
    message = names.sub(lambda m: FLAGS[m[1]] + (" " if m[2] else ""), message)
    # Those that are True are options without a value.
    return re.sub(rf"(?<![^ ])({'|'.join(WORDS)})=(?:True\b)?", _as_option, message)


def _as_option(match):
    return f"--{match[1]}" if match[0].endswith("True") else f"--{match[1]} "
