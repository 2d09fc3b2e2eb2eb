"""What a command is given to train on: the argument and its options."""

import re
from collections.abc import Callable

import click

ESCAPES = {r"\n": "\n", r"\r": "\r", r"\t": "\t", r"\\": "\\"}


def typed_separator(separator: str) -> str:
    """A separator as it would be typed, such as two characters for a newline."""
    typed = {character: escape for escape, character in ESCAPES.items()}
    return "".join(typed.get(character, character) for character in separator)


class Separator(click.ParamType):
    r"""A separator, in which `\n`, `\r` and `\t` may be typed for a newline, a carriage return and a tab."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value:
            self.fail("received nothing; type one character or more, such as '\\n\\n' for a blank line.")
        return re.sub(r"\\[nrt\\]", lambda match: ESCAPES[match[0]], value)


def corpus_options(command: Callable) -> Callable:
    """Adds the argument CORPUS and the options that say how it is read."""
    command = click.option("--join/--no-join", default=False, help="Read several texts as one long text.")(command)
    command = click.option(
        "--separator",
        default="\n",
        type=Separator(),
        help="What is between two items, with --lines; \\n\\n is a blank line.  [default: a newline]",
        show_default=False,
    )(command)
    command = click.option(
        "--lines/--no-lines",
        default=False,
        help="Every line is an item, such as a name; a sample is one item.",
    )(command)
    return click.argument("corpus", nargs=-1, required=True)(command)
