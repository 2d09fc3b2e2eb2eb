"""`tfcharlm plot surprise`: a text colored by how much each character surprises a model."""

from dataclasses import replace
from pathlib import Path

import click

from tfcharlm import plots
from tfcharlm.analysis import Surprise, join_surprises, record_surprise
from tfcharlm.artefact import latest_version
from tfcharlm.cli import PAGE, check_output
from tfcharlm.commands.errors import one_line_errors
from tfcharlm.commands.item_format import ItemFormat, item_format
from tfcharlm.commands.picture_files import write_picture
from tfcharlm.commands.plot_texts import load_reader, read_part
from tfcharlm.generation import DynamicEvaluation
from tfcharlm.model import CharLM


def surprise(
    model: Path,
    corpus: str | None,
    errors: str,
    text: str | None,
    begin: int,
    length: int,
    max_bits: float | None,
    adapt: bool,
    output: Path,
) -> None:
    """Colors a text by how much each character surprises a model."""
    with one_line_errors():
        check_output(output, (PAGE,))
        part = read_part(corpus, errors, text, begin, length)
        found = _recorded(*load_reader(model, part.text), item_format(latest_version(model)), adapt, part.is_cut)
        mean = f"{found.scores['bits_per_character']:.4f} bits per character, {len(part.text):,} characters."
        source = "" if corpus is None else f" over {click.format_filename(corpus)}"
        note = " ".join(filter(None, [mean, part.described]))
        page = plots.surprise_page(found, f"Surprise of {model}{source}", note, max_bits, part.first_line)
        click.echo(mean)
        if part.described:
            click.echo(f"{part.described} --begin and --length choose others.")
        write_picture(output, page)


def _recorded(model: CharLM, text: str, items: ItemFormat | None, adapt: bool, is_cut: bool) -> Surprise:
    """The surprise of a text; of items, each is read on its own. Where the text is cut, no item ends."""
    if items is None:
        return record_surprise(model, text, adapt)
    reader = DynamicEvaluation(model) if adapt else False
    end = items.scored_end(model.vocabulary)
    pieces = [item + end for item in items.items(text)]
    if not pieces:
        raise ValueError(f"the text must have an item; received only what is between two, {items.separator!r}.")
    if is_cut and not text.endswith(items.separator):
        pieces[-1] = pieces[-1].removesuffix(end)
    found = [record_surprise(model, piece, reader) for piece in pieces]
    # Every item is shown as lines of its own.
    return join_surprises([replace(one, text=one.text.replace(items.end, "\n")) for one in found])
