"""The command line: `tfcharlm train` makes a model, `tune` searches for a better one, `sample` lets it write,
`score`, `inspect`, `plot` look at it."""

import sys

import click

from tfcharlm.cli import models, plot, train, tune
from tfcharlm.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(__version__)
def commands():
    """Character language models: train one on a text, let it write."""


for command in (train.train, tune.tune, models.sample, models.score, models.inspect, plot.plot):
    commands.add_command(command)


def main(began=None):
    """Runs the command line; says what is wrong in one line on standard error.

    Args:
        began: what `time.monotonic()` was when the process began.
    """
    for stream in (sys.stdout, sys.stderr):
        # The name of a file may be something that no encoding has.
        stream.reconfigure(errors="backslashreplace")
    try:
        commands(standalone_mode=False, obj=began)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        message = error.format_message()
        # Of a group without a command click makes the whole help the message.
        click.echo(message if message.startswith("Usage:") else f"tfcharlm: {message}", err=True)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("tfcharlm: interrupted.", err=True)
        sys.exit(130)
