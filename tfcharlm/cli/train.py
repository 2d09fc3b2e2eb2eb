"""`tfcharlm train`: a training run, its output, its files, and what happens on Ctrl-C."""

import contextlib
import hashlib
import signal
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import rich.console
import tensorflow as tf

from tfcharlm.artefact import (
    EXTRA,
    LEARNING_CURVE,
    export_saved_model,
    next_version,
)
from tfcharlm.checkpoint import SECONDS, Checkpoint, CheckpointError
from tfcharlm.cli.errors import RUNTIME_ERRORS, UserError, one_line_errors
from tfcharlm.cli.progress import RunProgress, plan_line
from tfcharlm.cli.run_directory import RunDirectory
from tfcharlm.cli.shared import as_options, check_writable, config_option, config_options, errors_option
from tfcharlm.cli.training_records import training_records
from tfcharlm.kernels import available_cores, configure_threads
from tfcharlm.model import Guard, Replicas
from tfcharlm.text import TextSplit, load_corpus
from tfcharlm.training import (
    SUGGESTED,
    TrainingConfig,
    TrainingRun,
    strategy_from_environment,
    workers_on_this_machine,
)

EVALUATIONS_PER_SAMPLE, SAMPLE_LENGTH = 4, 160


@click.command(
    short_help="Train a model on a text.",
    help="""
    Train a model on CORPUS: shakespeare, names, tinyshakespeare, or the path of a UTF-8 text file.

    The model is written to OUTPUT/NAME/VERSION, with its learning curve. Ctrl-C stops early and keeps the best model so
    far. Checkpoints are saved in OUTPUT/NAME/checkpoints; the same command with --resume continues from the last one.
    """,
)
@click.argument("corpus")
@config_option("minutes", help_suffix=" From start-up to the saved model. Size and regularization suit it.")
@config_option("epochs")
@config_option("steps")
@click.option("--name", required=True, help="Name of the model.")
@click.option("--output", default="saved_models", type=click.Path(path_type=Path), help="Directory of the models.")
@config_option("level", default=TrainingConfig.level)
@config_options
@config_option("validation_fraction", default=TrainingConfig.validation_fraction)
@config_option("seed", default=TrainingConfig.seed)
@click.option("--resume", is_flag=True, help="Continue the unfinished run of this name, if there is one.")
@click.option(
    "--checkpoint-seconds",
    default=float(SECONDS),
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds between checkpoints.",
)
@errors_option
@click.pass_obj
def train(
    began: float | None,
    corpus: str,
    name: str,
    output: Path,
    errors: str,
    resume: bool,
    checkpoint_seconds: float,
    **settings: Any,
) -> None:
    # A worker that is not the chief also trains, but prints nothing.
    with one_line_errors():
        given = {key: value for key, value in settings.items() if value is not None}
        config = TrainingConfig(**given)
        strategy, chief = join_cluster()
        text = load_corpus(corpus, errors)
        corpus_sha256 = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        run_directory = RunDirectory(output / name, {**settings, "corpus_sha256": corpus_sha256})
        if chief:
            check_writable(output / name, name)
            model = run_directory.open(resume)
            if model is not None:
                click.echo(f"The run is finished. Model: {model}")
                return
        checkpoint = Checkpoint(run_directory.directory, checkpoint_seconds)
        split = TextSplit.from_text(text, config.level, config.validation_fraction)
        if config.minutes is None:
            run = TrainingRun(split, config, strategy=strategy)
        else:
            earlier = run_directory.settings_of_checkpoint(SUGGESTED)
            run = TrainingRun.with_suggested_size(split, given, strategy, earlier, elapsed=_since(began))
            config = run.config
    console = rich.console.Console(markup=False, emoji=False, highlight=False, soft_wrap=True, quiet=not chief)
    console.print(
        f"{click.format_filename(corpus)}: {len(text):,} characters, {len(split.vocabulary)} different tokens; "
        f"trains on {len(split.train_ids):,} tokens, holds out the last {len(split.validation_ids):,}.",
        f"\n{config.layers} {config.cell} {'layer' if config.layers == 1 else 'layers'} with {config.units} units, "
        f"{run.model.count_params():,} parameters, seed {config.seed}.",
        *([f"\nChosen to suit the time: {as_options(run.suggested)}"] if config.minutes is not None else []),
        sep="",
    )
    if plan_line(run):
        console.print(plan_line(run))
    if strategy.num_replicas_in_sync > 1:
        console.print(f"Each of {strategy.num_replicas_in_sync} replicas reads its own rows of every batch.")
    if resume and not run_directory.steps():
        console.print(f"There is no checkpoint in {run_directory.directory}; the run starts from the beginning.")
    progress = RunProgress(console, run)
    if run.plan.timing is not None:
        progress.say_if_busy(run.plan.timing.waiting)
    with run_directory if chief else contextlib.nullcontext(), _one_interruption(run.model.replicas), progress:
        with one_line_errors((*RUNTIME_ERRORS, CheckpointError)):
            checkpoint.notify = notify = progress.print
            result = run.train(
                elapsed=_since(began),
                saving=run.plan.saving,
                on_evaluation=lambda evaluation, history: _print_evaluation(
                    progress, evaluation, len(history), run, chief
                ),
                on_step=progress.on_step,
                on_last_evaluation=lambda tokens: progress.phase("evaluating"),
                callbacks=[Guard(on_skip=lambda line: notify(f"{line[0].upper()}{line[1:]}.")), checkpoint],
            )
        # Ignored from now on: Ctrl-C would lose the trained model.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if not chief:
            sys.exit(1 if result.failure else 130 if result.interrupted else 0)
        if result.failure:
            console.print(f"{result.failure[0].upper()}{result.failure[1:]} Saving the best model so far.")
        if result.interrupted and not result.steps:
            raise UserError("interrupted before the first step; nothing was written.")
        if result.interrupted and not result.failure:
            console.print("Interrupted; saving the best model so far.")
        if result.interrupted and run_directory.steps():
            console.print(
                f"Saved at step {run_directory.steps()[0]:,}; the same command with --resume continues from there."
            )
        progress.phase("saving")
        with one_line_errors():
            directory = _save(console, result, output / name, training_records(console, corpus, errors, config, result))
        _print_result(console, result, len(split.validation_ids), directory)
    if result.failure:
        sys.exit(1)
    if result.interrupted:
        sys.exit(130)
    if directory.parent != output / name:
        sys.exit(1)
    with one_line_errors():
        run_directory.finish(directory)


def join_cluster() -> tuple[tf.distribute.Strategy, bool]:
    """`(strategy, chief)`: the strategy that the environment describes, and whether this process writes the files.

    Workers on the same machine share its cores.
    """
    workers = workers_on_this_machine()
    if workers > 1:
        configure_threads(max(1, available_cores() // workers))
    strategy = strategy_from_environment()
    with strategy.scope():
        return strategy, Replicas().is_chief


@contextlib.contextmanager
def _one_interruption(replicas: Replicas) -> Iterator[None]:
    """The first Ctrl-C interrupts all replicas after the same step. Further ones are ignored."""

    def interrupt(number, frame):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if not replicas.is_distributed:
            raise KeyboardInterrupt
        replicas.interrupt()

    before = signal.getsignal(signal.SIGINT)
    # A shell starts background jobs with the signal ignored; then it stays ignored.
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _save(console, result, directory, records):
    """Exports the next version, or exports to a temporary directory if the right one cannot be written to."""
    try:
        return export_saved_model(result.model, next_version(directory), records)
    except (OSError, tf.errors.OpError) as error:
        console.print(f"{directory} cannot be written to ({error}).")
        return export_saved_model(
            result.model, Path(tempfile.mkdtemp(prefix="tfcharlm-")) / directory.name / "1", records
        )


def _since(began):
    return 0.0 if began is None else time.monotonic() - began


def _print_evaluation(progress, evaluation, number, run, chief):
    progress.on_evaluation()
    progress.print(
        f"{int(evaluation.seconds) // 60:02}:{int(evaluation.seconds) % 60:02}  "
        f"{evaluation.tokens / 1e6:6.2f} M tokens  "
        f"bits per character: training {evaluation.bits_per_character:.3f}, "
        f"validation {evaluation.val_bits_per_character:.3f}"
    )
    due = chief and number % EVALUATIONS_PER_SAMPLE == 0
    if due and progress.has_time_for_samples(number, EVALUATIONS_PER_SAMPLE):
        begin = run.model.vocabulary.decode(run.split.validation_ids[:1])
        text = run.model.generate(begin, max_length=SAMPLE_LENGTH, temperature=0.8, seed=number)
        progress.print(textwrap.indent(text.strip(), "    | ", lambda line: True))


def _print_result(console, result, held_out, directory):
    if result.val_loss is not None:
        text = "all" if result.val_tokens == held_out else f"the first {result.val_tokens:,} of {held_out:,} tokens"
        console.print(
            f"\nOn {text} of the held-out text: {result.val_loss:.4f} nats per token, "
            f"{result.val_bits_per_character:.4f} bits per character."
        )
    console.print(f"Model: {directory}")
    console.print(f"Learning curve: {directory / EXTRA / LEARNING_CURVE}")
