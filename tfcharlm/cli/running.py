"""From what was typed to what is done. This room needs no TensorFlow; what is done, in `tfcharlm.commands`, does."""

import contextlib
import glob
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tfcharlm.artefact.directories import latest_version
from tfcharlm.cli.errors import one_line_errors
from tfcharlm.text.corpora import CORPORA, load_corpus
from tfcharlm.text.sources import STANDARD_INPUT, find_sources

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


def check_text(name: str | None) -> None:
    """Raises an error if this is neither a corpus nor a file."""
    if name is not None and name not in CORPORA and not os.path.isfile(name):  # noqa: PTH113, see find_sources
        load_corpus(name)


def check_corpus(names: Sequence[str | None]) -> None:
    """Raises an error if one of these is neither a corpus nor a file. Directories and patterns are searched later."""
    for name in names:
        searched = name is not None and (os.path.isdir(name) or glob.has_magic(name))  # noqa: PTH112, see find_sources
        if name is not None and name != STANDARD_INPUT and not searched:
            find_sources([name])
