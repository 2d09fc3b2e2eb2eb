"""`tfcharlm sample`: texts, lines or items that a model writes, for a person or for a script."""

import json
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from tfcharlm.analysis import novelty_report
from tfcharlm.artefact import latest_version
from tfcharlm.checks import POSITIVE_INTEGER, Bounds
from tfcharlm.cli.errors import one_line_errors
from tfcharlm.cli.prompts import read_prompt
from tfcharlm.cli.shared import Text, errors_option
from tfcharlm.cli.training_records import item_end
from tfcharlm.generation import Sampling, StopSearch
from tfcharlm.model import CharLM, load_model
from tfcharlm.text import load_corpus

# Tokens of a sample by default, or of each of its lines with --lines.
LENGTH = 400
LINES = Bounds(low=1, high=1_000_000, whole=True)
# Seeds are drawn from so many, which every program that reads JSON has as numbers.
SEEDS = 2**32


@click.command(
    short_help="Generate text with a model.",
    help="""
    Generate text with MODEL: a directory saved_models/NAME (its latest version) or saved_models/NAME/VERSION.

    Without such a directory, names is the small model that comes with the package. A model that was trained on lines
    ends each sample at the end of its line.
    """,
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--prompt", type=Text(), help="Text to continue.  [default: the start of a line]")
@click.option(
    "--prompt-file",
    metavar="FILE",
    help="File with the text to continue, in UTF-8; - for standard input. A newline at its end is part of the prompt.",
)
@click.option(
    "--length",
    type=int,
    help=f"Number of tokens to generate, if nothing ends the sample before.  [default: {LENGTH}, with --lines {LENGTH} "
    "for each line]",
)
@click.option(
    "--stop",
    "stops",
    metavar="TEXT",
    multiple=True,
    type=Text(),
    help="End the sample before this text; may be given several times.  [default: the end of the line if the model was "
    "trained on lines, else nothing]",
)
@click.option(
    "--lines",
    type=int,
    help="End the sample after so many whole lines. A model that was trained on lines writes each as a sample of its "
    "own.",
)
@click.option(
    "--temperature", default=0.8, help="0: always take the most likely token; 1: sample from the model's distribution."
)
@click.option("--top-k", default=0, help="Sample from the k most likely tokens; 0: from all.")
@click.option(
    "--top-p", default=1.0, help="Sample from the most likely tokens with this total probability; 1: from all."
)
@click.option("--seed", type=int, help="Integer that makes the text repeatable.  [default: a new one each time]")
@click.option("--count", default=1, help="Number of samples. The seeds of the next ones are --seed + 1 and so on.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print a JSON object in a line for each sample: prompt, text (without the prompt), seed, tokens, "
    "finish_reason (stop, lines or length), and the settings.",
)
@click.option(
    "--novelty", metavar="CORPUS", help="Also print how much of the samples is copied from CORPUS, given as for train."
)
@errors_option
def sample(
    model: Path,
    prompt: str | None,
    prompt_file: str | None,
    length: int | None,
    stops: tuple[str, ...],
    lines: int | None,
    temperature: float,
    top_k: int,
    top_p: float,
    seed: int | None,
    count: int,
    as_json: bool,
    novelty: str | None,
    errors: str,
) -> None:
    with one_line_errors():
        POSITIVE_INTEGER.check("--count", count)
        if lines is not None:
            LINES.check("--lines", lines)
        if "" in stops:
            raise ValueError("--stop must have at least one character; received an empty text.")
        prompt = read_prompt(prompt, prompt_file, errors)
        corpus = None if novelty is None else load_corpus(novelty, errors)
        directory = latest_version(model)
        language_model = load_model(directory)
        if lines is not None and not language_model.vocabulary.line_start:
            raise ValueError("--lines needs a model with a newline in its vocabulary; give --length or --stop instead.")
        # Whatever comes after an item is not what the model has learned to write.
        end = item_end(directory) if lines is not None or not stops else None
        writes_items = end is not None
        if end is not None:
            stops, count, lines = (*stops, end), count * (lines or 1), None
        if length is None:
            length = LENGTH * (lines or 1)
        seed = secrets.randbelow(SEEDS) if seed is None else seed
        sampling = Sampling(temperature, top_k, top_p)
        # The arguments of all samples are checked before any of them is printed.
        language_model.stream(prompt, length, *sampling, seed + count - 1)
        has_headings = count > 1 and not writes_items and lines != 1
        written, cut = [], 0
        for row in range(count):
            text = _Sample(language_model.stream(prompt, length, *sampling, seed + row), stops, lines)
            if as_json:
                click.echo(_json_line(text, language_model, prompt, length, seed + row, sampling))
            else:
                if has_headings:
                    click.echo(f"--- {row + 1} of {count} ---")
                click.echo(prompt, nl=False)
                for piece in text:
                    click.echo(piece, nl=False)
                click.echo()
            written += [text.written] if corpus is not None else []
            cut += text.finish_reason == "length"
        # On standard error, because the samples on standard output may go to a file.
        if cut and (lines or writes_items):
            click.echo(f"{cut:,} of {count:,} samples ended by --length {length}, before the end of a line.", err=True)
        if corpus is not None:
            click.echo(novelty_report(written, corpus), err=True)


class _Sample:
    """The pieces of a text until it ends. Afterwards, what was written and why it ended."""

    def __init__(self, pieces: Iterator[str], stops: Sequence[str], lines: int | None) -> None:
        self.written, self.finish_reason = "", "length"
        self._pieces, self._search, self._lines = pieces, StopSearch(stops), lines

    def __iter__(self) -> Iterator[str]:
        for piece in self._certain():
            piece = self._whole_lines(piece)
            self.written += piece
            yield piece
            if self.finish_reason == "lines":
                return
        if self._search.found:
            self.finish_reason = "stop"

    def _certain(self):
        for piece in self._pieces:
            yield self._search.add(piece)
            if self._search.found:
                return
        yield self._search.add("", final=True)

    def _whole_lines(self, piece):
        """The piece, up to the newline that ends the last line."""
        if self._lines is None:
            return piece
        parts = piece.split("\n", self._lines)
        if len(parts) <= self._lines:
            self._lines -= len(parts) - 1
            return piece
        self.finish_reason = "lines"
        return "\n".join(parts[:-1])


def _json_line(text: _Sample, model: CharLM, prompt: str, length: int, seed: int, sampling: Sampling) -> str:
    written = "".join(text)
    ended = text.finish_reason
    tokens = length if ended == "length" else len(model.vocabulary.encode(written, errors="ignore"))
    return json.dumps(
        {"prompt": prompt, "text": written, "tokens": tokens, "finish_reason": ended, "seed": seed} | sampling._asdict()
    )
