"""Errors of the command line: one line each, with options as the user types them."""

import contextlib
import re
from collections.abc import Iterator

import click
import tensorflow as tf

from tfcharlm.generation import Sampling
from tfcharlm.training import OPTIONS, TrainingDivergedError

# Options whose names are also words of error messages, as in "a cell with an input gate". They are replaced only in
# front of "=".
WORDS = ("cell", "level")
# The Python name of an argument, and its option on the command line.
FLAGS: dict[str, str] = {
    name: "--" + name.replace("_", "-")
    for name in (*OPTIONS, *Sampling._fields, "errors", "num_evaluations", "trials")
    if name not in WORDS
} | {"max_length": "--length"}


SMALLER = "free some, raise its limit (ulimit -v), or choose a smaller model, batch or text."


class UserError(click.ClickException):
    """An error that the user can fix. It is one line on standard error, with exit status 2."""

    exit_code = 2


# The errors that can occur in a run that started well; and those that can occur where input is checked.
RUNTIME_ERRORS = (TrainingDivergedError, MemoryError, tf.errors.OpError)
INPUT_ERRORS = (ValueError, OSError, ImportError, *RUNTIME_ERRORS)


@contextlib.contextmanager
def one_line_errors(kinds: tuple[type[Exception], ...] = INPUT_ERRORS) -> Iterator[None]:
    """Turns exceptions of these kinds into a `UserError` with their message in one line."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader, such as `head`, has closed the pipe; click then exits without a message
    except kinds as error:
        message = error.message.splitlines()[0] if isinstance(error, tf.errors.OpError) else str(error)
        message = " ".join(message.split())
        if isinstance(error, tf.errors.ResourceExhaustedError | MemoryError):
            shape = re.search(r"shape\s*[\[(][\d, ]*[\])]", message)
            if shape or not message:
                message = f"there is not enough memory{f' for an array of {shape[0]}' if shape else ''}; {SMALLER}"
        # Only whole words are replaced, not parts of a file name.
        names = re.compile(rf"(?<![^ ])({'|'.join(FLAGS)})(?:(=)|(?=[ ,;]))")
        message = names.sub(lambda m: FLAGS[m[1]] + (" " if m[2] else ""), message)
        raise UserError(re.sub(rf"(?<![^ ])({'|'.join(WORDS)})=", r"--\1 ", message)) from error
