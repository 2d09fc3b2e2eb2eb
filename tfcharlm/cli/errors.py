"""Errors of the command line: one line each, with the names that its user types."""

import contextlib
import re

import click
import tensorflow as tf

from tfcharlm.generation import Sampling
from tfcharlm.training import OPTIONS, TrainingDivergedError

# What Python calls an argument, and the option of the command line.
FLAGS = {
    name: "--" + name.replace("_", "-") for name in (*OPTIONS, *Sampling._fields, "errors", "num_evaluations", "trials")
} | {"max_length": "--length"}


class UserError(click.ClickException):
    """An error that the user can fix: one line on standard error, exit status 2."""

    exit_code = 2


# What can go wrong in a run that started well, and where input is checked.
RUNTIME_ERRORS = (TrainingDivergedError, MemoryError, tf.errors.OpError)
INPUT_ERRORS = (ValueError, OSError, ImportError, *RUNTIME_ERRORS)


@contextlib.contextmanager
def one_line_errors(kinds=INPUT_ERRORS):
    """Turns these exceptions into a `UserError` with their message in one line."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader, such as `head`, has closed its end; click ends quietly
    except kinds as error:
        message = error.message.splitlines()[0] if isinstance(error, tf.errors.OpError) else str(error)
        message = " ".join(message.split()) or "there is not enough memory for this"
        # Where they stand as words, and not in the name of a file.
        names = re.compile(rf"(?<![^ ])({'|'.join(FLAGS)})(?:(=)|(?=[ ,;]))")
        raise UserError(names.sub(lambda m: FLAGS[m[1]] + (" " if m[2] else ""), message)) from error
