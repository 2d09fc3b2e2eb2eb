"""What several commands take."""

import click

errors_option = click.option(
    "--errors",
    default="strict",
    type=click.Choice(["strict", "replace"]),
    help="What a byte of a file that is not UTF-8 is: an error, or U+FFFD.",
)
