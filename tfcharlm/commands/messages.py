"""Where a command prints: text for a person, JSON objects for a program, or nothing."""

import json
import math
from collections.abc import Mapping
from typing import Any

import click
import rich.console


class Messages(rich.console.Console):
    """A console of text, whose lines a program can read as JSON objects instead.

    Args:
        as_json: whether everything is a JSON object in a line: a report, with what it is about under the name "report",
            or `{"report": "message", "text": ...}`.
        quiet: whether only reports are printed; with text, nothing.
    """

    def __init__(self, as_json: bool = False, quiet: bool = False) -> None:
        # A program does not want a progress bar.
        plain = {"force_terminal": False} if as_json else {}
        super().__init__(markup=False, emoji=False, highlight=False, soft_wrap=True, quiet=quiet, **plain)  # type: ignore[arg-type]
        self.as_json = as_json

    def print(self, *objects: Any, sep: str = " ", **options: Any) -> None:
        """Prints text, as `rich.console.Console.print` does."""
        if not self.as_json:
            super().print(*objects, sep=sep, **options)
        elif not self.quiet and (text := sep.join(map(str, objects)).strip()):
            print_json({"report": "message", "text": text})

    def describe(self, *lines: str) -> None:
        """Prints lines that a terminal breaks between words; there is nothing in them to copy."""
        self.print(*lines, sep="\n", soft_wrap=not self.is_terminal)

    def report(self, name: str, facts: Mapping[str, Any], text: str | None = None) -> None:
        """Prints an object for a program, or a text for a person, if there is one."""
        if self.as_json:
            print_json({"report": name} | dict(facts))
        elif text is not None:
            super().print(text)


def print_json(facts: Mapping[str, Any]) -> None:
    """Prints strict JSON in ASCII, whatever the locale is. A number that is not finite is null."""
    click.echo(json.dumps(_finite(facts), allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
