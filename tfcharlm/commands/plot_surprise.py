"""`tfcharlm plot surprise`: a text colored by how much each character surprises a model."""

from pathlib import Path

import click

from tfcharlm import plots
from tfcharlm.analysis import record_surprise
from tfcharlm.cli import PAGE, check_output
from tfcharlm.commands.errors import one_line_errors
from tfcharlm.commands.picture_files import write_picture
from tfcharlm.commands.plot_texts import load_reader, read_part


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
        found = record_surprise(*load_reader(model, part.text), adapt)
        mean = f"{found.scores['bits_per_character']:.4f} bits per character, {len(part.text):,} characters."
        source = "" if corpus is None else f" over {click.format_filename(corpus)}"
        note = " ".join(filter(None, [mean, part.described]))
        page = plots.surprise_page(found, f"Surprise of {model}{source}", note, max_bits, part.first_line)
        click.echo(mean)
        if part.described:
            click.echo(f"{part.described} --begin and --length choose others.")
        write_picture(output, page)
