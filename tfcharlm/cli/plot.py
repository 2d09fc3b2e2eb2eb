"""`tfcharlm plot`: its commands and their options."""

from pathlib import Path
from typing import Any

import click

from tfcharlm.cli.output import IMAGES, PAGE, check_output
from tfcharlm.cli.plot_options import output_option, picks_units, reads_a_text
from tfcharlm.cli.running import check_corpus, check_models, checks_before_start, run, run_at_once
from tfcharlm.cli.shared import examples


@click.group(
    short_help="Plot how a model learned, what its units do and what surprises it.",
    help="""
    Plot how a model learned, what its units, gates and gradients do, and what surprises it.

    The ending of --output chooses the format: .png or .svg for a picture, which needs matplotlib, or .html for colored
    text. No file is overwritten.
    """,
)
def plot() -> None:
    pass


@plot.command(
    epilog=examples(
        "tfcharlm plot curve saved_models/plays",
    ),
    short_help="Draw the learning curve of a model.",
    help="""
    Draw the learning curve of MODEL: a directory saved_models/NAME (its latest version) or one of its versions.
    """,
)
@click.argument("model", type=click.Path(path_type=Path))
@output_option("curve.png", "File to write, .png or .svg.")
def curve(model: Path, output: Path) -> None:
    with checks_before_start():
        check_output(output, IMAGES)
    run_at_once("curve.curve", model=model, output=output)


@plot.command(
    epilog=examples(
        "tfcharlm plot units saved_models/plays --corpus text.txt",
        "tfcharlm plot units saved_models/plays --corpus text.txt --unit 7 --unit 19 --output units.png",
    ),
    short_help="Show units over a text, and which of them track quotations.",
    help="""
    Show units of MODEL over a text, and print which units track quotations, lines and speakers.

    A score is the correlation between the unit and what it tracks, from -1 to 1. It means more on a longer text. The
    scores are for all of the text that is read; the picture shows its start.
    """,
)
@click.argument("model", type=click.Path(path_type=Path))
@reads_a_text(length=20_000)
@picks_units(multiple=True, help="A unit to show; may be given several times.  [default: those that track best]")
@click.option("--kind", help="What to show of a unit: c, h, i, f, g or o.  [default: c of an LSTM, h of an RNN]")
@output_option("units.html", "File to write: .html for colored text, .png or .svg for a heat map.")
def units(model: Path, corpus: str | None, output: Path, **options: Any) -> None:
    _check([model], corpus, options["text"], output, (*IMAGES, PAGE))
    run("plot.units", model=model, corpus=corpus, output=output, **options)


@plot.command(
    epilog=examples(
        "tfcharlm plot gates saved_models/plays --corpus text.txt",
    ),
    short_help="Show the gates and states of one unit over a text.",
    help="Show the gates and states of one unit of MODEL, an LSTM, over a text.",
)
@click.argument("model", type=click.Path(path_type=Path))
@reads_a_text(length=20_000)
@picks_units(multiple=False, help="The unit to show.  [default: the one that tracks best]")
@output_option("gates.png", "File to write: .png or .svg for heat maps, .html for colored text.")
def gates(model: Path, corpus: str | None, output: Path, **options: Any) -> None:
    _check([model], corpus, options["text"], output, (*IMAGES, PAGE))
    run("plot.gates", model=model, corpus=corpus, output=output, **options)


@plot.command(
    epilog=examples(
        "tfcharlm plot gradients saved_models/plays saved_models/mine --corpus text.txt",
    ),
    short_help="Show how far the gradients of models reach back.",
    help="""
    Show how far the gradients of MODELS reach back: their norms at every step before a prediction, in one picture.

    The text is cut into windows, and the last token of each is predicted. The norms are means over the windows.
    """,
)
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path))
@reads_a_text(length=5_000)
@click.option("--window", default=100, type=click.IntRange(min=2), help="Tokens in a window; the last is predicted.")
@output_option("gradients.png", "File to write, .png or .svg.")
def gradients(models: tuple[Path, ...], corpus: str | None, output: Path, **options: Any) -> None:
    with checks_before_start():
        if len(set(models)) < len(models):
            raise ValueError("each model must be given once; received one of them twice.")
    _check(models, corpus, options["text"], output, IMAGES)
    run("plot.gradients", models=models, corpus=corpus, output=output, **options)


@plot.command(
    epilog=examples(
        "tfcharlm plot surprise saved_models/plays text.txt --adapt",
    ),
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
def surprise(model: Path, corpus: str | None, output: Path, **options: Any) -> None:
    _check([model], corpus, options["text"], output, (PAGE,), "CORPUS, such as text.txt")
    run("plot_surprise.surprise", model=model, corpus=corpus, output=output, **options)


def _check(models, corpus, text, output, endings, how="--corpus, such as --corpus text.txt"):
    with checks_before_start() as needed:
        check_output(output, endings)
        if (corpus is None) == (text is None):
            raise ValueError(f"give a text to read: either {how}, or --text 'To be'.")
        if needed:
            check_corpus(corpus)
            check_models(*models)
