"""`tfcharlm plot surprise`: a text colored by how much each character surprises a model."""

from pathlib import Path

import click

from tfcharlm import plots
from tfcharlm.analysis import record_surprise
from tfcharlm.cli.errors import one_line_errors
from tfcharlm.cli.picture_files import PAGE, check_output, write_picture
from tfcharlm.cli.plot_options import output_option, reads_a_text
from tfcharlm.cli.plot_texts import load_reader, read_part


@click.command(
    short_help="Show which characters of a text surprise a model.",
    help="""
    Show how much each character of CORPUS surprises MODEL, in bits. CORPUS is given as for train (usually the path of a
    UTF-8 file).

    The page has the mean of every line beside it. A pointer on a character shows its bits. The text is read as if it
    started a line. `tfcharlm score --by-line` prints the lines that are most surprising.
    """,
)
@click.argument("model", type=click.Path(path_type=Path))
@reads_a_text(length=20_000, as_argument=True)
@click.option(
    "--max-bits",
    type=click.FloatRange(min=0, min_open=True),
    help="Bits of the strongest color; the same number makes pages comparable.  [default: a number that 99 of 100 "
    "characters are below]",
)
@click.option("--adapt", is_flag=True, help="Let the model learn from the text while it reads it (dynamic evaluation).")
@output_option("surprise.html", "File to write, .html.")
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
    with one_line_errors():
        check_output(output, (PAGE,))
        part = read_part(corpus, errors, text, begin, length, how="CORPUS, such as text.txt")
        found = record_surprise(*load_reader(model, part.text), adapt)
        mean = f"{found.scores['bits_per_character']:.4f} bits per character, {len(part.text):,} characters."
        source = "" if corpus is None else f" over {click.format_filename(corpus)}"
        note = " ".join(filter(None, [mean, part.described]))
        page = plots.surprise_page(found, f"Surprise of {model}{source}", note, max_bits, part.first_line)
        click.echo(mean)
        if part.described:
            click.echo(f"{part.described} --begin and --length choose others.")
        write_picture(output, page)
