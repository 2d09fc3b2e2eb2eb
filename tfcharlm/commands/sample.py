"""`tfcharlm sample`: texts, lines or items that a model writes, for a person or for a script."""

import json
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from tfcharlm.analysis import novelty_report
from tfcharlm.artefact import latest_version
from tfcharlm.commands.errors import one_line_errors
from tfcharlm.commands.item_format import item_format
from tfcharlm.commands.prompts import read_prompt
from tfcharlm.generation import Sampling, StopSearch
from tfcharlm.model import CharLM, load_model
from tfcharlm.text import load_texts

# Seeds are drawn from so many, which every program that reads JSON has as numbers.
SEEDS = 2**32


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
    default_length: int,
) -> None:
    """Writes samples. The arguments are the options, and the length of a sample, or of each of its lines."""
    with one_line_errors():
        prompt = read_prompt(prompt, prompt_file, errors)
        corpus = None if novelty is None else "".join(text for _, text in load_texts(novelty, errors))
        directory = latest_version(model)
        language_model = load_model(directory)
        if lines is not None and not language_model.vocabulary.line_start:
            raise ValueError("--lines needs a model with a newline in its vocabulary; give --length or --stop instead.")
        # Whatever comes after an item is not what the model has learned to write.
        items = item_format(directory) if lines is not None or not stops else None
        writes_items = items is not None
        if items is not None:
            stops, count, lines = (*stops, items.end), count * (lines or 1), None
        if length is None:
            length = default_length * (lines or 1)
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
        {"report": "sample", "prompt": prompt, "text": written, "tokens": tokens, "finish_reason": ended, "seed": seed}
        | sampling._asdict()
    )
