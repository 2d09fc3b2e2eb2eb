"""The corpus of a command: reading it with a progress bar, and what is printed about it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import rich.console
import rich.progress

from tfcharlm.text import TextSplit, split_corpus


def read_corpus(
    console: rich.console.Console,
    corpus: Sequence[str],
    options: Mapping[str, Any],
    directory: Path | None = None,
    resume: bool = False,
) -> TextSplit:
    """Reads a corpus, with a progress bar on a terminal.

    Args:
        console: where the bar is drawn.
        corpus: what the user has typed.
        options: arguments of `split_corpus`.
        directory: where the ids are written; None (default) keeps them in memory.
        resume: whether a run is resumed, whose corpus must be the same. False by default.
    """
    with rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.DownloadColumn(),
        rich.progress.TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        tasks: dict[str, rich.progress.TaskID] = {}

        def report(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = progress.add_task(f"{phase} the text", total=total)
            progress.update(tasks[phase], completed=done)

        return split_corpus(corpus, **options, directory=directory, resume=resume, on_progress=report)


def corpus_name(corpus: Sequence[str]) -> str:
    """What the user has typed, in a line."""
    more = f" and {len(corpus) - 3:,} more" if len(corpus) > 3 else ""
    return ", ".join("standard input" if name == "-" else click.format_filename(name) for name in corpus[:3]) + more


def corpus_record(corpus: Sequence[str], errors: str, options: Mapping[str, Any], split: TextSplit) -> dict[str, Any]:
    """What training.json says about the corpus."""
    record: dict[str, Any] = {"corpus": corpus[0] if len(corpus) == 1 else list(corpus), "errors": errors}
    if split.item_end is not None:
        record |= {"lines": True, "separator": options["separator"], "item_end": split.item_end}
    return {**record, "join": True} if options["join"] else record
