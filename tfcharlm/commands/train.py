"""`tfcharlm train`: a training run, its output, its files, and what happens on Ctrl-C."""

import contextlib
import dataclasses
import functools
import signal
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfcharlm.artefact import EXTRA, LEARNING_CURVE, export_saved_model, next_version
from tfcharlm.checkpoint import Checkpoint, CheckpointError
from tfcharlm.cli import UserError, as_options, check_writable
from tfcharlm.commands import small_text
from tfcharlm.commands.cluster import join_cluster, one_interruption
from tfcharlm.commands.corpus import corpus_name, corpus_record, read_corpus
from tfcharlm.commands.errors import INPUT_ERRORS, RUNTIME_ERRORS, not_started, one_line_errors
from tfcharlm.commands.messages import Messages
from tfcharlm.commands.progress import RunProgress, plan_line
from tfcharlm.commands.run_directory import RunDirectory
from tfcharlm.commands.starting_model import StartingModel, make_run
from tfcharlm.commands.training_records import training_card, training_records
from tfcharlm.model import Guard, Replicas, WorkerLostError
from tfcharlm.training import (
    SUGGESTED,
    TrainingConfig,
)

EVALUATIONS_PER_SAMPLE, SAMPLE_LENGTH = 4, 160
# What the chief tells the other workers about the directory of the run.
GOES_ON, FINISHED, REFUSED = range(3)
# What a program reads of a result.
RESULT = (
    "steps", "val_loss", "val_bits_per_character", "val_tokens", "temperature", "interrupted", "ended_early", "failure",
)  # fmt: skip


def train(
    began: float | None,
    level_is_given: bool,
    corpus: tuple[str, ...],
    lines: bool,
    separator: str,
    join: bool,
    name: str,
    output: Path,
    origin: str | None,
    origin_sha256: str | None,
    errors: str,
    resume: bool,
    checkpoint_seconds: float,
    license: str | None,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Trains a model. The arguments are the options of the command.

    Args:
        began: `time.monotonic()` at the start of the process; None counts from now.
        origin_sha256: the digest of the weights from which the run of --config began; None for none.
        level_is_given: whether the user has typed --level.
        **settings: the fields of `TrainingConfig`; None for what the user has not given.
    """
    # A worker that is not the chief also trains, but prints nothing.
    with one_line_errors():
        # First of all: workers meet before TensorFlow's first operation.
        strategy, chief = join_cluster()
        given = {key: value for key, value in settings.items() if value is not None}
        start = None if origin is None else StartingModel(origin, origin_sha256)
        if start is not None:
            given = start.options(given, level_is_given)
        config = TrainingConfig(**given)
        console = Messages(as_json and chief, quiet or not chief)
        reading = {"lines": lines, "separator": separator, "join": join}
        options = {**reading, "errors": errors, "level": config.level, "known": start and start.model.vocabulary}
        options["validation_fraction"] = config.validation_fraction
        # Every worker has ids of its own, so that none waits for another.
        with strategy.scope():
            replicas = Replicas()
        ids = output / name / "corpus" / ("" if chief else f"worker-{replicas.worker}")
        read = functools.cache(lambda: read_corpus(console, corpus, options, ids, resume))
        # What is not given is left out, so that runs of earlier versions are recognized.
        about = {**settings, **({k: v for k, v in reading.items() if v != "\n" and v})}
        about |= {} if start is None else {"from": start.record}
        run_directory = RunDirectory(output / name, lambda: {**about, "corpus_sha256": read().sha256})
        model = _opened(run_directory, output / name, name, resume, replicas)
        if model is not None:
            console.report("result", {"model": model}, f"The run is finished. Model: {model}")
            return
        checkpoint = Checkpoint(run_directory.directory, checkpoint_seconds)
        with run_directory.discarded_on_error() if chief else contextlib.nullcontext():
            split = read()
            earlier = None if config.minutes is None else run_directory.settings_of_checkpoint(SUGGESTED)
            with console.status("Measuring the machine and building the model ..."):
                run = make_run(split, given, start, strategy, earlier, _since(began))
            config = run.config
    facts = {"corpus": list(corpus), "tokens": split.train.num_tokens, "held_out_tokens": split.validation.num_tokens}
    facts |= {"vocabulary": len(split.vocabulary), "parameters": run.model.count_params(), "options": vars(config)}
    console.report("start", facts)
    console.describe(
        f"{corpus_name(corpus)}: {split.description}",
        *split.notes,
        f"{'' if config.members == 1 else f'{config.members} networks of '}{config.layers} {config.cell} "
        f"{'layer' if config.layers == 1 else 'layers'} with {config.units} units, "
        f"{run.model.count_params():,} parameters, seed {config.seed}.",
        *([f"Chosen to suit the time: {as_options(run.suggested)}"] if config.minutes is not None else []),
        *([] if start is None else start.described(run)),
        *filter(None, [plan_line(run), small_text.expectation(split, start is not None)]),
    )
    if strategy.num_replicas_in_sync > 1:
        console.print(f"Each of {strategy.num_replicas_in_sync} replicas reads its own rows of every batch.")
    if resume and not run_directory.steps():
        console.print(f"There is no checkpoint in {run_directory.directory}; the run starts from the beginning.")
    progress = RunProgress(console, run)
    if run.plan.timing is not None:
        progress.say_if_busy(run.plan.timing.waiting)
    with run_directory if chief else contextlib.nullcontext(), one_interruption(run.model.replicas), progress:
        with one_line_errors((*RUNTIME_ERRORS, CheckpointError, WorkerLostError)):
            checkpoint.notify = notify = progress.print
            result = run.train(
                elapsed=_since(began),
                saving=run.plan.saving + small_text.counting_seconds(split),
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
            if result.steps and not result.failure:
                # If the chief is lost while it saves, all workers are started again, and this one must be, too.
                with one_line_errors():
                    replicas.all_gather(0)
            sys.exit(1 if result.failure else 130 if result.interrupted else 0)
        if result.interrupted and not result.steps:
            raise not_started(result.failure)
        if result.failure:
            console.print(f"{result.failure[0].upper()}{result.failure[1:]} Saving the best model so far.")
        if result.interrupted and not result.failure:
            console.print("Interrupted; saving the best model so far.")
        if result.interrupted and run_directory.steps():
            console.print(
                f"Saved at step {run_directory.steps()[0]:,}; the same command with --resume continues from there."
            )
        if (line := small_text.early_end(result)) is not None:
            console.print(line)
        progress.phase("saving")
        baseline = None if result.interrupted else small_text.kneser_ney_baseline(split, config.batch_size)
        with one_line_errors():
            source = corpus_record(corpus, errors, reading, split)
            records = training_records(console, source, run, result, baseline)
            card = training_card(run, result, name, corpus_name(corpus), license)
            directory = _save(console, result, output / name, records, card)
        _print_result(console, result, split.validation.num_tokens, baseline, directory, start is not None)
    if result.failure:
        sys.exit(1)
    elsewhere = directory.parent != output / name
    with one_line_errors():
        if not result.interrupted and not elsewhere:
            run_directory.finish(directory)
        replicas.all_gather(0)
    if result.interrupted:
        sys.exit(130)
    if elsewhere:
        sys.exit(1)


def _opened(run_directory, directory, name, resume, replicas):
    """The model of a run that is finished; None to go on. All workers end with what the chief has found."""
    model, error = None, None
    if replicas.is_chief:
        try:
            check_writable(directory, name)
            model = run_directory.open(resume)
        except INPUT_ERRORS as caught:
            error = caught
    found = replicas.all_gather(REFUSED if error else GOES_ON if model is None else FINISHED)[0]
    if error is not None:
        raise error
    if not replicas.is_chief and found != GOES_ON:
        sys.exit(UserError.status if found == REFUSED else 0)
    return model


def _save(console, result, directory, records, card):
    """Exports the next version, or exports to a temporary directory if the right one cannot be written to."""
    try:
        return export_saved_model(result.model, next_version(directory), records, card)
    except (OSError, tf.errors.OpError) as error:
        console.print(f"{directory} cannot be written to ({error}).")
        elsewhere = Path(tempfile.mkdtemp(prefix="tfcharlm-")) / directory.name / "1"
        return export_saved_model(result.model, elsewhere, records, card)


def _since(began):
    return 0.0 if began is None else time.monotonic() - began


def _print_evaluation(progress, evaluation, number, run, chief):
    progress.on_evaluation()
    training = "" if evaluation.loss is None else f"training {evaluation.bits_per_character:.3f}, "
    progress.console.report(
        "evaluation",
        dataclasses.asdict(evaluation),
        f"{small_text.clock(evaluation.seconds)}  "
        f"{evaluation.tokens / 1e6:6.2f} M tokens  "
        f"bits per character: {training}validation {evaluation.val_bits_per_character:.3f}",
    )
    due = chief and number % EVALUATIONS_PER_SAMPLE == 0
    if due and progress.has_time_for_samples(number, EVALUATIONS_PER_SAMPLE):
        end = run.split.item_end
        begin = run.model.vocabulary.decode(run.split.validation.head(1)) if end is None else ""
        stop = None if end is None else [end]
        text = run.model.generate(begin, max_length=SAMPLE_LENGTH, temperature=0.8, seed=number, stop=stop)
        shown = textwrap.indent(text.strip(), "    | ", lambda line: True)
        progress.console.report("sample", {"text": text, "seed": number, "temperature": 0.8}, shown)


def _print_result(console, result, held_out, baseline, directory, began_from_model):
    if result.val_loss is not None:
        text = "all" if result.val_tokens == held_out else f"the first {result.val_tokens:,} of {held_out:,} tokens"
        console.print(
            f"\nOn {text} of the held-out text: {result.val_loss:.4f} nats per token, "
            f"{result.val_bits_per_character:.4f} bits per character."
        )
    if baseline is not None and (line := small_text.warning(baseline, result, began_from_model)) is not None:
        console.print(line)
    facts = {name: getattr(result, name) for name in RESULT} | {"model": str(directory)}
    console.report("result", facts | {"kneser_ney": None if baseline is None else baseline._asdict()})
    console.print(f"Model: {directory}")
    console.print(f"Learning curve: {directory / EXTRA / LEARNING_CURVE}")
