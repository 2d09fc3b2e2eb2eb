"""`tfcharlm score`: how well a model predicts texts, and which of their lines surprise it."""

from pathlib import Path

import click

from tfcharlm.cli.errors import one_line_errors
from tfcharlm.cli.shared import Text, errors_option
from tfcharlm.model import load_model
from tfcharlm.text import UnknownTokenError, load_corpus


@click.command(
    short_help="Measure how well a model predicts texts.",
    help="""
    Measure how well MODEL predicts texts: CORPORA, given as for train (usually paths of UTF-8 files), or --text.

    Fewer bits per character are better. Each text is scored as if it started a line.
    """,
)
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("corpora", nargs=-1)
@click.option("--text", "texts", multiple=True, type=Text(), help="A text to score; may be given several times.")
@errors_option
def score(model: Path, corpora: tuple[str, ...], texts: tuple[str, ...], errors: str) -> None:
    with one_line_errors():
        if not corpora and not texts:
            raise ValueError("no text was given; type the path of a text file after MODEL, or --text 'To be'.")
        named = [(click.format_filename(name), load_corpus(name, errors)) for name in corpora] + [
            (repr(text), text) for text in texts
        ]
        language_model = load_model(model)
        for name, text in named:
            try:
                scores = language_model.score(text)
            except UnknownTokenError as error:
                raise ValueError(f"{name}: {error.what}; a model can score only what its corpus contains.") from error
            click.echo(
                f"{name}: {scores['bits_per_character']:.4f} bits per character, perplexity "
                f"{scores['perplexity']:.2f}, log-probability {scores['log_probability']:.2f} nats for "
                f"{scores['tokens']:,} tokens"
            )
