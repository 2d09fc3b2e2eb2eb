"""`tfcharlm score`: its options."""

from pathlib import Path
from typing import Any

import click

from tfcharlm.cli.running import check_corpus, check_models, checks_before_start, run
from tfcharlm.cli.shared import Text, errors_option, examples


@click.command(
    epilog=examples(
        "tfcharlm score saved_models/plays text.txt",
        "tfcharlm score saved_models/plays text.txt --by-line --adapt",
        'tfcharlm score saved_models/plays --text "To be" --text "Tu be"',
    ),
    short_help="Measure how well a model predicts texts.",
    help="""
    Measure how well MODEL predicts texts: CORPORA, given as for train (usually paths of UTF-8 files), or --text.

    Fewer bits per character are better. Each text is scored as if it started a line. If MODEL was trained with --lines,
    each item of a text is scored on its own, with its end, and --by-line prints items.
    """,
)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("corpora", nargs=-1)
@click.option("--text", "texts", multiple=True, type=Text(), help="A text to score; may be given several times.")
@click.option(
    "--by-line",
    is_flag=True,
    help="Also print the lines that surprise the model most: their number in the text, bits per character, the line.",
)
@click.option(
    "--show", default=20, type=click.IntRange(min=0), help="Number of lines to print with --by-line; 0: all of them."
)
@click.option(
    "--adapt",
    is_flag=True,
    help="Let the model learn from each text while it reads it (dynamic evaluation); every text starts with MODEL. It "
    "learns after every 40 tokens, so from shorter items it learns nothing.",
)
@click.option("--carry", is_flag=True, help="With --adapt: keep what was learned from one text for the next.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print a JSON object in a line for each text. With --by-line, it has all lines in the order of the text.",
)
@errors_option
def score(model: Path, corpora: tuple[str, ...], texts: tuple[str, ...], **options: Any) -> None:
    with checks_before_start() as needed:
        if not corpora and not texts:
            raise ValueError("no text was given; type the path of a text file after MODEL, or --text 'To be'.")
        if options["carry"] and not options["adapt"]:
            raise ValueError("--carry is for a model that learns while it reads; type --adapt --carry.")
        if needed:
            check_corpus(*corpora)
            check_models(model)
    run("score.score", model=model, corpora=corpora, texts=texts, **options)
