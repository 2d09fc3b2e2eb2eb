"""What the command line says when something is wrong: one line, with the names that its user types."""

import contextlib
import re

import click
import tensorflow as tf

from tfcharlm.training import TrainingDivergedError

# What the Python interface calls these, and how the command line does.
OPTIONS = {name: "--" + name.replace("_", "-") for name in (
    "validation_fraction", "batch_size", "sequence_length", "learning_rate", "minutes", "epochs", "steps", "units",
    "layers", "reports", "embedding_dim", "dropout", "input_dropout", "weight_drop", "skip_connections", "reset_rate",
    "cap_input_gate", "schedule", "clip_norm", "weight_decay", "ema_momentum", "frequency_bias", "random_offset",
    "errors", "temperature", "top_k", "top_p", "seed",
)} | {"max_length": "--length"}  # fmt: skip


class UserError(click.ClickException):
    """What the user can put right: one line on standard error, exit status 2."""

    exit_code = 2


# What can go wrong in a run that began well, and where input is checked.
IN_A_RUN = (TrainingDivergedError, MemoryError, tf.errors.OpError)
AT_THE_DOOR = (ValueError, OSError, ImportError, *IN_A_RUN)


@contextlib.contextmanager
def one_line_errors(kinds=AT_THE_DOOR):
    """Of these exceptions the message is all that the user needs."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader, such as `head`, has seen enough; click ends quietly
    except kinds as error:
        message = error.message.splitlines()[0] if isinstance(error, tf.errors.OpError) else str(error)
        message = " ".join(message.split()) or "there is not enough memory for this"
        # Where they stand as words, and not in the name of a file.
        names = re.compile(rf"(?<![^ ])({'|'.join(OPTIONS)})(?:(=)|(?=[ ,;]))")
        raise UserError(names.sub(lambda m: OPTIONS[m[1]] + (" " if m[2] else ""), message)) from error
