"""Errors of what a command does: one line each, those of TensorFlow among them."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from tfcharlm import cli
from tfcharlm.cli import UserError, as_typed
from tfcharlm.model import WorkerLostError
from tfcharlm.training import MissingWorkerError, TrainingDivergedError

SMALLER = "free some, raise its limit (ulimit -v), or choose a smaller model, batch or text."
# The errors that can occur in a run that started well; and those that can occur where input is checked.
RUNTIME_ERRORS = (TrainingDivergedError, MemoryError, tf.errors.OpError)
INPUT_ERRORS = (*cli.INPUT_ERRORS, *RUNTIME_ERRORS)


class LostWorkerError(UserError):
    """Another worker was lost. Nothing is wrong with the command, which a launcher may start again: exit status 1."""

    status = exit_code = 1


def not_started(failure: str | None) -> UserError:
    """The error of a run that ended before its first step: by a failure, or else by Ctrl-C."""
    if failure:
        return LostWorkerError(f"{failure} Nothing was written.")
    error = UserError("interrupted before the first step; nothing was written.")
    error.status = 130
    return error


@contextlib.contextmanager
def one_line_errors(kinds: tuple[type[Exception], ...] = INPUT_ERRORS) -> Iterator[None]:
    """Turns exceptions of these kinds into a `UserError` with their message in one line.

    That of a lost worker is a `LostWorkerError`.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # the reader, such as `head`, has closed the pipe; click then exits without a message
    except kinds as error:
        if isinstance(error, (WorkerLostError, *WorkerLostError.CAUSES)):
            raise LostWorkerError(str(WorkerLostError())) from error
        if isinstance(error, MissingWorkerError):
            raise LostWorkerError(str(error)) from error
        message = error.message.splitlines()[0] if isinstance(error, tf.errors.OpError) else str(error)
        message = " ".join(message.split())
        if isinstance(error, tf.errors.ResourceExhaustedError | MemoryError):
            shape = re.search(r"shape\s*[\[(][\d, ]*[\])]", message)
            if shape or not message:
                message = f"there is not enough memory{f' for an array of {shape[0]}' if shape else ''}; {SMALLER}"
        raise UserError(as_typed(message)) from error
