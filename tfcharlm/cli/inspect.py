"""`tfcharlm sample`, `score` and `inspect`: the commands for an exported model."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from tfcharlm.analysis import novelty_report
from tfcharlm.artefact import Inspection
from tfcharlm.checks import POSITIVE_INTEGER, one_line
from tfcharlm.cli.errors import one_line_errors
from tfcharlm.cli.shared import Text, errors_option
from tfcharlm.model import inspect_model, load_model
from tfcharlm.text import UnknownTokenError, load_corpus

# Of anything in a report; the rest is counted.
MAX_LINES = 10


@click.command(
    short_help="Generate text with a model.",
    help="""
    Generate text with MODEL: a directory saved_models/NAME (its latest version) or saved_models/NAME/VERSION.

    Without such a directory, names is the small model that comes with the package.
    """,
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--prompt", default="", type=Text(), help="Text to continue; empty for the start of a line.")
@click.option("--length", default=400, help="Number of tokens to generate.")
@click.option(
    "--temperature", default=0.8, help="0: always take the most likely token; 1: sample from the model's distribution."
)
@click.option("--top-k", default=0, help="Sample from the k most likely tokens; 0: from all.")
@click.option(
    "--top-p", default=1.0, help="Sample from the most likely tokens with this total probability; 1: from all."
)
@click.option("--seed", type=int, help="Integer that makes the text repeatable.  [default: a new one each time]")
@click.option("--count", default=1, help="Number of samples.")
@click.option(
    "--novelty", metavar="CORPUS", help="Also print how much of the samples is copied from CORPUS, given as for train."
)
@errors_option
def sample(
    model: Path,
    prompt: str,
    length: int,
    temperature: float,
    top_k: int,
    top_p: float,
    seed: int | None,
    count: int,
    novelty: str | None,
    errors: str,
) -> None:
    with one_line_errors():
        POSITIVE_INTEGER.check("--count", count)
        corpus = None if novelty is None else load_corpus(novelty, errors)
        language_model = load_model(model)
        texts = [
            language_model.stream(prompt, length, temperature, top_k, top_p, None if seed is None else seed + row)
            for row in range(count)
        ]
        written = []
        for row, pieces in enumerate(texts):
            if count > 1:
                click.echo(f"--- {row + 1} of {count} ---")
            click.echo(prompt, nl=False)
            written.append("")
            for piece in pieces:
                click.echo(piece, nl=False)
                written[row] += piece
            click.echo()
        if corpus is not None:
            # On standard error, because the samples on standard output may go to a file.
            click.echo(novelty_report(written, corpus), err=True)


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


@click.command(
    short_help="Describe a model without loading or running it.",
    help="""
    Describe MODEL without loading or running it: any SavedModel, or saved_models/NAME (its latest version).

    The exit status is 0 for an unchanged export of tfcharlm, 1 if anything was changed or is disallowed, and 2 if MODEL
    is not a SavedModel.
    """,
)
@click.argument("model", type=click.Path(path_type=Path))
def inspect(model: Path) -> None:
    with one_line_errors():
        inspection = inspect_model(model)
    for line in _described(inspection):
        click.echo("".join(c if c.isprintable() else repr(c)[1:-1] for c in line))
    sys.exit(int(not inspection.is_plain_export))


def _described(inspection: Inspection) -> Iterator[str]:
    vocabulary = inspection.vocabulary
    if vocabulary is None:
        yield f"{inspection.directory}: a SavedModel, but not a readable tfcharlm model"
    else:
        yield f"{inspection.directory}: a model of tfcharlm {inspection.version}"
        yield (
            f"Vocabulary: {len(vocabulary):,} tokens, level {vocabulary.level}, fingerprint {vocabulary.fingerprint}"
        )
    yield "Signatures:" if inspection.signatures else "Signatures: none"
    yield from _first(
        f"{signature.name}({_listed(signature.inputs)}) -> {_listed(signature.outputs)}"
        for signature in inspection.signatures
    )
    yield "Files: " + ("not those of an export" if inspection.differences else "as an export writes them")
    yield from _first(inspection.differences)
    size = f"{inspection.operations:,} in the graph and its {inspection.functions:,} functions"
    if not inspection.disallowed:
        yield f"Operations: {size}, all of them needed by a tfcharlm model"
        return
    yield f"Operations: {size}; {len(inspection.disallowed):,} disallowed, because no tfcharlm model needs them:"
    yield from _first(f"{found.operation}, {found.name} in {found.where}" for found in inspection.disallowed)


def _first(lines: Iterable[str]) -> Iterator[str]:
    """The first lines of a list that a stranger's file may have made long, and how many more there are."""
    lines = list(lines)
    yield from (f"  {one_line(line)}" for line in lines[:MAX_LINES])
    if len(lines) > MAX_LINES:
        yield f"  and {len(lines) - MAX_LINES:,} more"


def _listed(tensors: Iterable[tuple]) -> str:
    return ", ".join(f"{name} {dtype} {shape}" for name, dtype, shape in tensors)
