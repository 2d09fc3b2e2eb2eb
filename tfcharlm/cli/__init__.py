"""The command line: what can be typed after `tfcharlm`. What the commands do is in `tfcharlm/commands`.

This room needs no TensorFlow, so that help and mistakes are answered at once.
"""

import logging
import sys
from collections.abc import Callable
from importlib.metadata import version

import click

from tfcharlm.checks import one_line
from tfcharlm.cli import export, inspect, plot, sample, score, serve, train, tune
from tfcharlm.cli.corpus_options import typed_separator
from tfcharlm.cli.errors import INPUT_ERRORS, UserError, as_typed, one_line_errors
from tfcharlm.cli.output import IMAGES, PAGE, check_output
from tfcharlm.cli.plot_options import SHOWN_IN_HEAT_MAP, SHOWN_IN_TEXT
from tfcharlm.cli.running import run, start_with
from tfcharlm.cli.shared import as_options, check_writable, printable

__all__ = [
    "IMAGES",
    "INPUT_ERRORS",
    "PAGE",
    "SHOWN_IN_HEAT_MAP",
    "SHOWN_IN_TEXT",
    "UserError",
    "as_options",
    "as_typed",
    "check_output",
    "check_writable",
    "commands",
    "main",
    "one_line_errors",
    "printable",
    "typed_separator",
]


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    help="Recurrent character language models: train one on a text file, then generate text in its style.",
    epilog="""
    \b
    Examples:
      tfcharlm train shakespeare --minutes 2 --name plays
      tfcharlm sample saved_models/plays --prompt "ROMEO:"

    \b
    Exit status:
      0    done
      1    a run or another worker failed; or inspect found a difference
      2    something was given that cannot be used, or there is no result
      130  ended by Ctrl-C; 143 by SIGTERM
    """,
)
@click.version_option(version("tfcharlm"))
@click.option(
    "--show-config",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda context, option, value: value and not context.resilient_parsing and _show_config(context),
    help="Show versions, the kernels that run and why, vector instructions and threads, then exit.",
)
def commands() -> None:
    # The help of a command is data: Python has no docstrings with -OO.
    pass


class LogLines(logging.Handler):
    """Prints what is logged on standard error. It is looked up for every line, because a progress bar replaces it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            click.echo(self.format(record), err=True)
        except Exception:  # such as when whoever read it has gone; `logging` must not end a run
            self.handleError(record)


def log_to_standard_error() -> None:
    """Prints what the library logs, from the level INFO up."""
    logger = logging.getLogger("tfcharlm")
    if any(isinstance(handler, LogLines) for handler in logger.handlers):
        return  # --verbose was typed twice
    handler = LogLines()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def _with_verbose(command):
    """Adds --verbose to a command and to those in it."""
    option = click.Option(
        ["-v", "--verbose"],
        is_flag=True,
        expose_value=False,
        callback=lambda context, option, value: value and log_to_standard_error(),
        help="Also print what the library logs, on standard error.",
    )
    command.params.append(option)
    for inner in getattr(command, "commands", {}).values():
        _with_verbose(inner)


def _show_config(context):
    run("configuration.show_config")
    context.exit()


for command in (
    train.train,
    tune.tune,
    sample.sample,
    score.score,
    export.export,
    serve.serve,
    inspect.inspect,
    plot.plot,
):
    commands.add_command(command)
_with_verbose(commands)


def main(began: float | None = None, start: Callable[[], object] = lambda: None) -> None:
    """Runs the command line. An error is one line on standard error.

    Args:
        began: `time.monotonic()` at the start of the process. `train --minutes` counts from there. None (default)
            counts from now.
        start: starts TensorFlow; it is called once, by a command that needs it. By default TensorFlow has started.
    """
    start_with(start)
    for stream in (sys.stdout, sys.stderr):
        # The name of a file may not be valid in any encoding.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        commands(standalone_mode=False, obj=began)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        message = error.format_message()
        # If the command of a group is missing, click makes the whole help the message.
        click.echo(message if message.startswith("Usage:") else one_line(f"tfcharlm: {message}"), err=True)
        sys.exit(getattr(error, "status", UserError.status))
    except (click.Abort, KeyboardInterrupt):
        click.echo("tfcharlm: interrupted.", err=True)
        sys.exit(130)
