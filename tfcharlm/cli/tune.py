"""`tfcharlm tune`: its options."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from tfcharlm.checks import POSITIVE, POSITIVE_INTEGER, Bounds
from tfcharlm.cli.corpus_options import corpus_options
from tfcharlm.cli.running import check_corpus, checks_before_start, run
from tfcharlm.cli.shared import check_writable, config_option, errors_option, examples, output_options, searched_options
from tfcharlm.text.sources import STANDARD_INPUT, check_reading
from tfcharlm.training.config import OPTIONS, TUNABLE, TrainingConfig

# The tuners that end by themselves, and the default number of trials of the others.
FINITE, TRIALS = ("hyperband", "grid"), 20


@click.command(
    epilog=examples(
        "tfcharlm tune shakespeare --minutes 1 --trials 20 --workers 2 --name tuned",
        "tfcharlm tune names.txt --lines --steps 500 --tuner grid --units 64,128 --cell lstm,gru --name tuned",
    ),
    short_help="Search for the best options to train with, and keep the best model.",
    help="""
    Search for the best options to train on CORPUS, given as for train, and keep the best model.

    Each option from --cell on takes one value, which fixes it, or several values separated by commas, from which the
    search chooses, such as --units 64,128.

    The best model is written to OUTPUT/NAME/VERSION. OUTPUT/NAME/search has leaderboard.csv, trials.png, and the logs
    for TensorBoard. After an interruption, the same command with --resume continues the search. To use several
    machines, start the command on each of them with KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP and
    KERASTUNER_ORACLE_PORT set, and with a common OUTPUT (docs/scaling.md). Only processes that know the secret of the
    search take part.
    """,
)
@corpus_options
@click.option(
    "--tuner",
    default="random",
    type=click.Choice(["random", "hyperband", "bayesian", "grid"]),
    help="How the options of the next model are chosen.",
)
@click.option(
    "--trials",
    type=int,
    help="Number of models to train, the first one with what train would choose.  [default: 20; for grid and "
    "hyperband all]",
)
@click.option("--minutes", type=float, help="Time to train each model.")
@click.option("--steps", type=int, help="Number of weight updates of each model, instead of --minutes.")
@click.option(
    "--workers", default=0, help="Processes to start on this machine; 0: train one model after another in this process."
)
@click.option(
    "--stall-seconds",
    default=600.0,
    help="Seconds without a step after which a worker is replaced; six times as many before its first step.",
)
@click.option("--name", required=True, help="Name of the model.")
@click.option("--output", default="saved_models", type=click.Path(path_type=Path), help="Directory of the models.")
@click.option("--resume", is_flag=True, help="Resume a search that was interrupted.")
@click.option("--num-evaluations", default=9, help="Evaluations of each model; for Hyperband, of its longest trials.")
@click.option(
    "--pruning/--no-pruning", default=True, help="End a trial early if it is behind the median of the others."
)
@config_option("level", default=TrainingConfig.level)
@config_option("validation_fraction", default=TrainingConfig.validation_fraction)
@config_option("seed", default=TrainingConfig.seed)
@output_options
@errors_option
@searched_options
def tune(
    corpus: tuple[str, ...],
    tuner: str,
    trials: int | None,
    workers: int,
    stall_seconds: float,
    name: str,
    output: Path,
    **options: Any,
) -> None:
    with checks_before_start() as needed:
        if trials is not None:
            POSITIVE_INTEGER.check("--trials", trials)
        Bounds(low=0, whole=True).check("--workers", workers)
        POSITIVE.check("--stall-seconds", stall_seconds)
        POSITIVE_INTEGER.check("--num-evaluations", options["num_evaluations"])
        _check_values(options)
        if STANDARD_INPUT in corpus:
            raise ValueError("every process of a search reads the text, so it cannot be standard input; give a file.")
        if needed:
            check_reading(options["lines"], options["separator"], options["join"])
            check_corpus(*corpus)
            check_writable(output / name, name)
    trials = TRIALS if trials is None and tuner not in FINITE else trials
    given = {"corpus": corpus, "tuner": tuner, "trials": trials, "workers": workers, "stall_seconds": stall_seconds}
    run("tune.tune", **given, name=name, output=output, **options)


def _check_values(options):
    """Raises a ValueError for a value that no trial may have."""
    budgets = [name for name in ("minutes", "steps") if options[name] is not None]
    if len(budgets) != 1:
        received = ", ".join(f"{name}={options[name]}" for name in budgets) or "neither"
        raise ValueError(f"give either minutes or steps for a trial, such as minutes=1; received {received}.")
    fixed = {name: options[name] for name in OPTIONS if name in options and name not in TUNABLE}
    base = TrainingConfig(**fixed)
    for name in TUNABLE:
        for value in options[name] or ():
            dataclasses.replace(base, **{name: value})
