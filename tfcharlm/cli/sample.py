"""`tfcharlm sample`: its options."""

from pathlib import Path
from typing import Any

import click

from tfcharlm.checks import POSITIVE_INTEGER, Bounds
from tfcharlm.cli.running import check_corpus, check_file, check_models, checks_before_start, run
from tfcharlm.cli.shared import Text, errors_option, examples
from tfcharlm.generation.sampling_settings import LENGTH as TOKENS
from tfcharlm.generation.sampling_settings import ROW_SEED, Sampling
from tfcharlm.text.sources import STANDARD_INPUT

# Tokens of a sample by default, or of each of its lines with --lines.
LENGTH = 400
LINES = Bounds(low=1, high=1_000_000, whole=True)


@click.command(
    epilog=examples(
        'tfcharlm sample saved_models/plays --prompt "ROMEO:" --temperature 0.6 --seed 1',
        "tfcharlm sample names --lines 10",
        "tfcharlm sample saved_models/plays --prompt-file begin.txt --count 3 --json",
    ),
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
def sample(model: Path, stops: tuple[str, ...], lines: int | None, count: int, **options: Any) -> None:
    with checks_before_start() as needed:
        POSITIVE_INTEGER.check("--count", count)
        if lines is not None:
            LINES.check("--lines", lines)
        if "" in stops:
            raise ValueError("--stop must have at least one character; received an empty text.")
        if options["prompt"] is not None and options["prompt_file"] is not None:
            raise ValueError("give either --prompt or --prompt-file; received both.")
        Sampling(options["temperature"], options["top_k"], options["top_p"]).checked()
        if options["length"] is not None:
            TOKENS.check("--length", options["length"])
        if options["seed"] is not None:
            ROW_SEED.check("--seed", options["seed"])
        if options["prompt_file"] not in (None, STANDARD_INPUT):
            check_file(options["prompt_file"])
        if needed:
            check_corpus(options["novelty"])
            check_models(model)
    run("sample.sample", model=model, stops=stops, lines=lines, count=count, default_length=LENGTH, **options)
