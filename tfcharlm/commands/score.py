"""`tfcharlm score`: how well a model predicts texts, and which of their lines surprise it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import rich.console
import rich.text

from tfcharlm.analysis import LineSurprise, record_surprise, score_items
from tfcharlm.artefact import latest_version
from tfcharlm.cli import printable
from tfcharlm.commands.errors import one_line_errors
from tfcharlm.commands.item_format import item_format
from tfcharlm.commands.messages import print_json
from tfcharlm.generation import DynamicEvaluation
from tfcharlm.model import load_model
from tfcharlm.text import UnknownTokenError, load_texts


def score(
    model: Path,
    corpora: tuple[str, ...],
    texts: tuple[str, ...],
    by_line: bool,
    show: int,
    adapt: bool,
    carry: bool,
    as_json: bool,
    errors: str,
) -> None:
    """Prints how well a model predicts texts. The arguments are the options."""
    with one_line_errors():
        read = load_texts(corpora, errors) if corpora else []
        given = [("corpus", click.format_filename(name), text) for name, text in read]
        given += [("text", text, text) for text in texts]
        directory = latest_version(model)
        items, language_model = item_format(directory), load_model(directory)
        reader = DynamicEvaluation(language_model) if adapt else None
        waiting = rich.console.Console(stderr=True).status("Reading ...")
        for kind, source, text in given:
            name = repr(source) if kind == "text" else "standard input" if source == "-" else source
            if reader is not None and not carry:
                reader.reset()
            learning = reader or False
            scores: Any
            lines: Sequence[LineSurprise]
            try:
                with waiting:
                    if items is not None:
                        end = items.scored_end(language_model.vocabulary)
                        scores, lines = score_items(language_model, list(items.items(text)), end, learning)
                    elif by_line:
                        surprise = record_surprise(language_model, text, learning)
                        scores, lines = surprise.scores, surprise.lines
                    else:
                        scores, lines = language_model.score(text, learning), ()
            except UnknownTokenError as error:
                raise ValueError(f"{name}: {error.what}; a model can score only what its corpus contains.") from error
            if as_json:
                print_json(_report({kind: source, **scores}, lines if by_line else None))
                continue
            click.echo(
                f"{name}: {scores['bits_per_character']:.4f} bits per character, perplexity "
                f"{scores['perplexity']:.2f}, log-probability {scores['log_probability']:.2f} nats for "
                f"{scores['tokens']:,} tokens"
            )
            if by_line:
                _print_lines(lines, show or len(lines))


def _report(scores: Mapping[str, Any], lines: Sequence[LineSurprise] | None) -> dict[str, Any]:
    """What a program reads of the scores of a text."""
    found: dict[str, Any] = {"report": "score", **scores}
    if lines is not None:
        found["lines"] = [
            {"line": line.number, "bits_per_character": line.bits_per_character, "bits": line.bits,
             "characters": line.characters, "text": line.text}
            for line in lines
        ]  # fmt: skip
    return found


def _print_lines(lines: Sequence[LineSurprise], count: int) -> None:
    """A table of the lines that surprise the model most. On a terminal, a line that is too long ends in an ellipsis."""
    console = rich.console.Console(markup=False, emoji=False, highlight=False)
    worst = sorted(lines, key=lambda line: -line.bits_per_character)[:count]
    width = max(len("Line"), *(len(f"{line.number:,}") for line in worst)) if worst else 0
    rows = [(f"{'Line':>{width}}  ", "Bits/char  ", "Text", "bold", "bold")] if worst else []
    rows += [
        (f"{line.number:>{width},}  ", f"{line.bits_per_character:>9.2f}  ", printable(line.text), "dim", "")
        for line in worst
    ]
    for number, bits, text, of_number, of_text in rows:
        row = rich.text.Text.assemble((number, of_number), (bits, "bold"), (text, of_text))
        if console.is_terminal:
            console.print(row, no_wrap=True, overflow="ellipsis")
        else:
            console.print(row, soft_wrap=True)
    if len(worst) < len(lines):
        console.print(f"{len(worst):,} of {len(lines):,} lines; --show 0 shows all.", style="dim", soft_wrap=True)
