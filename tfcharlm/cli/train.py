"""`tfcharlm train`: a run, its files, an interruption."""

import contextlib
import csv
import dataclasses
import hashlib
import io
import json
import signal
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import click
import rich.console
import rich.progress
import tensorflow as tf

from tfcharlm import plots
from tfcharlm.callbacks import Report
from tfcharlm.checkpoint import SECONDS, Checkpoint, CheckpointError
from tfcharlm.cli.options import check_writable, errors_option, recipe_options, typed
from tfcharlm.cli.unfinished import Unfinished
from tfcharlm.distributed import Replicas, strategy_of_environment, workers_of_this_machine
from tfcharlm.errors import IN_A_RUN, UserError, one_line_errors
from tfcharlm.export import export, next_version
from tfcharlm.guard import Guard
from tfcharlm.kernels import available_cores, configure_threads
from tfcharlm.recipe import Corpus, TrainingConfig
from tfcharlm.suited import SHAPE, SUITED, measured_speed, suited
from tfcharlm.text import load_corpus
from tfcharlm.training import TrainingRun

REPORTS_PER_SAMPLE, SAMPLE_LENGTH = 4, 160


@click.command()
@click.argument("corpus")
@click.option("--minutes", type=float, help="Time to train, start-up included; size and recipe are chosen to suit it.")
@click.option("--epochs", type=int, help="Passes over the training text, instead of --minutes.")
@click.option("--steps", type=int, help="Updates of the weights, instead of --minutes.")
@click.option("--name", required=True, help="Name of the model.")
@click.option("--output", default="saved_models", type=click.Path(path_type=Path), help="Where models are kept.")
@click.option("--level", default="char", type=click.Choice(["char", "byte", "word"]), help="What a token is.")
@recipe_options
@click.option(
    "--validation-fraction", default=TrainingConfig.validation_fraction, help="The last part of the text, held out."
)
@click.option(
    "--seed", default=TrainingConfig.seed, help="Of the initial weights and of where a pass over the text begins."
)
@click.option("--resume", is_flag=True, help="Go on with the run of this name, if there is one that was not finished.")
@click.option(
    "--checkpoint-seconds",
    default=float(SECONDS),
    type=click.FloatRange(min=0, min_open=True),
    help="Time between saves of the run.",
)
@errors_option
@click.pass_obj
def train(began, corpus, name, output, errors, resume, checkpoint_seconds, **settings):
    """Train a model on CORPUS: shakespeare, names, tinyshakespeare, or the path of a UTF-8 text file.

    The model goes to OUTPUT/NAME/VERSION, together with its learning curve. Ctrl-C stops early and keeps the best
    model so far. The run is saved in OUTPUT/NAME/checkpoints; the same command with --resume goes on with it.
    """
    # A worker that is not the chief trains, too, and says nothing.
    with one_line_errors():
        given = {key: value for key, value in settings.items() if value is not None}
        config = TrainingConfig(**given)
        strategy, chief = _meet()
        text = load_corpus(corpus, errors)
        corpus_sha256 = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        unfinished = Unfinished(output / name, {**settings, "corpus_sha256": corpus_sha256})
        if chief:
            check_writable(output / name, name)
            model = unfinished.open(resume)
            if model is not None:
                click.echo(f"The run is finished. Model: {model}")
                return
        checkpoint = Checkpoint(unfinished.directory, checkpoint_seconds)
        data = Corpus.split(text, config.level, config.validation_fraction)
        chosen = {}
        if config.minutes is not None:
            # Also of a run that goes on: a worker that had no checkpoint would wait for the others.
            speed = _speed(strategy)
            sizes = {"tokens": len(data.train_ids), "vocabulary_size": len(data.vocabulary)}
            sizes["characters"] = round(len(text) * (1 - config.validation_fraction))
            shape = {option: given[option] for option in SHAPE if option in given}
            chosen = (unfinished.chosen(SUITED) or suited(60 * config.minutes, speed, **sizes, **shape)) | given
            config = TrainingConfig(**chosen)
        run = TrainingRun(data, config, strategy=strategy)
    console = rich.console.Console(markup=False, emoji=False, highlight=False, soft_wrap=True, quiet=not chief)
    console.print(
        f"{click.format_filename(corpus)}: {len(text):,} characters, {len(run.model.vocabulary)} different tokens; "
        f"trains on {len(run.corpus.train_ids):,} tokens, holds out the last {len(run.corpus.validation_ids):,}.",
        f"\n{config.layers} x {config.units} {config.cell}, {run.model.count_params():,} parameters, "
        f"seed {config.seed}.",
        *([f"\nTo suit: {typed({name: chosen[name] for name in SUITED})}"] if chosen else []),
    )
    if strategy.num_replicas_in_sync > 1:
        console.print(f"Each of {strategy.num_replicas_in_sync} replicas reads its rows of a batch.")
    if resume and not unfinished.steps():
        console.print(f"There is no checkpoint in {unfinished.directory}; the run begins.")
    with unfinished if chief else contextlib.nullcontext(), _one_interruption(run.model.replicas):
        with one_line_errors((*IN_A_RUN, CheckpointError)), _progress_bar(console) as progress:
            task = progress.add_task("training", total=1.0)
            checkpoint.notify = notify = progress.console.print
            result = run.train(
                elapsed=0 if began is None else time.monotonic() - began,
                on_report=lambda report, history: _print_report(progress.console, report, len(history), run, chief),
                on_step=lambda spent: progress.update(task, completed=spent),
                callbacks=[Guard(on_skip=lambda line: notify(f"{line[0].upper()}{line[1:]}.")), checkpoint],
            )
        # There is something to lose now.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if not chief:
            sys.exit(1 if result.failure else 130 if result.interrupted else 0)
        if result.failure:
            console.print(f"{result.failure[0].upper()}{result.failure[1:]} Saving the best model so far.")
        if result.interrupted and not result.steps:
            raise UserError("interrupted before the first step; nothing was written.")
        if result.interrupted and not result.failure:
            console.print("Interrupted; saving the best model so far.")
        if result.interrupted and unfinished.steps():
            console.print(
                f"Saved at step {unfinished.steps()[0]:,}; the same command with --resume goes on from there."
            )
        with one_line_errors():
            directory = _save(console, result, output / name, _records(console, corpus, errors, config, result))
        _print_result(console, result, directory)
    if result.failure:
        sys.exit(1)
    if result.interrupted:
        sys.exit(130)
    if directory.parent != output / name:
        sys.exit(1)
    unfinished.finish(directory)


def _meet():
    """The strategy of the environment, and whether this process writes; workers of one machine share its cores."""
    together = workers_of_this_machine()
    if together > 1:
        configure_threads(max(1, available_cores() // together))
    strategy = strategy_of_environment()
    with strategy.scope():
        return strategy, Replicas().is_chief


def _speed(strategy):
    """Operations a second of all workers together."""
    with strategy.scope():
        return sum(Replicas().of_all_workers(measured_speed()))


@contextlib.contextmanager
def _one_interruption(replicas):
    """The first Ctrl-C interrupts, all replicas after the same step; a further one does nothing."""

    def interrupt(number, frame):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if not replicas:
            raise KeyboardInterrupt
        replicas.interrupt()

    before = signal.getsignal(signal.SIGINT)
    # A shell starts its background jobs with the signal ignored, and so it stays.
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _save(console, result, directory, records):
    """Exports the next version; to a temporary directory if it cannot be written where it should."""
    try:
        return export(result.model, next_version(directory), records)
    except (OSError, tf.errors.OpError) as error:
        console.print(f"{directory} cannot be written to ({error}).")
        return export(result.model, Path(tempfile.mkdtemp(prefix="tfcharlm-")) / directory.name / "1", records)


def _progress_bar(console):
    return rich.progress.Progress(
        rich.progress.BarColumn(),
        rich.progress.TaskProgressColumn(),
        rich.progress.TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _print_report(console, report, number, run, chief):
    console.print(
        f"{int(report.seconds) // 60:02}:{int(report.seconds) % 60:02}  {report.tokens / 1e6:6.2f} M tokens  "
        f"bits per character: training {report.bits_per_character:.3f}, validation {report.val_bits_per_character:.3f}"
    )
    if chief and number % REPORTS_PER_SAMPLE == 0:
        begin = run.model.vocabulary.decode(run.corpus.validation_ids[:1])
        text = run.model.generate(begin, max_length=SAMPLE_LENGTH, temperature=0.8, seed=number)
        console.print(textwrap.indent(text.strip(), "    | ", lambda line: True))


def _print_result(console, result, directory):
    if result.val_loss is not None:
        console.print(
            f"\nOn all of the held-out text: {result.val_loss:.4f} nats per token, "
            f"{result.val_bits_per_character:.4f} bits per character."
        )
    console.print(f"Model: {directory}")
    console.print(f"Learning curve: {directory / 'assets.extra' / 'learning_curve.csv'}")


def _records(console, corpus, errors, config, result):
    """What is kept beside the model of how it came about: `{file name: bytes}`."""
    table = io.StringIO()
    writer = csv.DictWriter(table, [field.name for field in dataclasses.fields(Report)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(dataclasses.asdict, result.history))
    outcome = {"val_loss": result.val_loss, "val_bits_per_character": result.val_bits_per_character}
    source = {"corpus": str(corpus), "errors": errors}
    training = {**source, **dataclasses.asdict(config), **outcome, "interrupted": result.interrupted}
    records = {
        "learning_curve.csv": table.getvalue().encode(),
        "training.json": json.dumps(training, indent=1).encode(),
    }
    try:
        records["learning_curve.png"] = plots.image(plots.learning_curve(result.history))
    except ImportError as error:
        console.print(f"No picture of the learning curve: {error}")
    return records
