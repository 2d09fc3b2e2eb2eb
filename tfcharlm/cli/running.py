"""From what was typed to what is done. This room needs no TensorFlow; what is done, in `tfcharlm.commands`, does."""

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tfcharlm.artefact.directories import latest_version
from tfcharlm.cli.errors import one_line_errors
from tfcharlm.text.sources import check_source

# Starts TensorFlow in a process of the command line (`tfcharlm_command.start`).
_starts: list[Callable[[], object]] = []


def start_with(start: Callable[[], object]) -> None:
    """Names the function that is called once before the first function that needs TensorFlow."""
    _starts.append(start)


def run(function: str, **arguments: Any) -> None:
    """Calls a function of the room `commands`, such as "plot.units", once TensorFlow has started."""
    with one_line_errors((ImportError,)):
        while _starts:
            _starts.pop()()
    run_at_once(function, **arguments)


def run_at_once(function: str, **arguments: Any) -> None:
    """Calls a function of the room `commands` that needs no TensorFlow."""
    module, _, name = function.partition(".")
    getattr(importlib.import_module(f"tfcharlm.commands.{module}"), name)(**arguments)


@contextlib.contextmanager
def checks_before_start() -> Iterator[bool]:
    """A block of checks that a command repeats, so that a mistake is reported before TensorFlow has started.

    The value is whether TensorFlow still has to start. An error is one line.
    """
    with one_line_errors():
        yield "tensorflow" not in sys.modules


def check_models(*directories: Path | str | None) -> None:
    """Raises an error if one of these is not the directory or the name of a model."""
    for directory in directories:
        if directory is not None:
            latest_version(directory)


def check_file(path: str) -> None:
    """Raises an error if this file does not exist."""
    if not os.path.lexists(path):
        raise FileNotFoundError(f"no file {path!r}")


def check_corpus(*names: str | None) -> None:
    """Raises an error if there is nothing of one of these names. Directories are searched later."""
    for name in names:
        if name is not None:
            check_source(name)
