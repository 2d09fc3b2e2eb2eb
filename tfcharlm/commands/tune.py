"""`tfcharlm tune`: a search in one process or in several, which can be interrupted and resumed."""

import contextlib
import csv
import dataclasses
import json
import math
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tfcharlm import plots
from tfcharlm.artefact import LEARNING_CURVE, TRAINING, export_saved_model, next_version
from tfcharlm.atomic_files import replace_file
from tfcharlm.bookkeeping import DamagedFileError, read_file
from tfcharlm.cli import UserError, as_options, check_writable, typed_separator
from tfcharlm.commands.corpus import corpus_record, read_corpus
from tfcharlm.commands.errors import RUNTIME_ERRORS, one_line_errors
from tfcharlm.commands.messages import Messages
from tfcharlm.commands.search_settings import SETTINGS, check_resumed, check_settings
from tfcharlm.commands.trial_table import TrialTable
from tfcharlm.kernels import available_cores, configure_threads
from tfcharlm.training import SUGGESTED, TUNABLE, TrainingConfig, TrainingRun, measured_speed
from tfcharlm.tuning import (
    CharLMHyperModel,
    TrialFiles,
    as_csv,
    leaderboard,
    make_oracle,
    role_from_environment,
    search,
)

TABLE, PICTURE = "leaderboard.csv", "trials.png"


def tune(
    corpus: tuple[str, ...],
    lines: bool,
    separator: str,
    join: bool,
    tuner: str,
    trials: int | None,
    workers: int,
    stall_seconds: float,
    name: str,
    output: Path,
    resume: bool,
    errors: str,
    as_json: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Searches, and exports the best model. The arguments are the options of the command."""
    console = Messages(as_json, quiet)
    directory = output / name / "search"
    with one_line_errors():
        role = role_from_environment()
        if role is not None and workers > 1:
            configure_threads(max(1, available_cores() // workers))
        check_resumed(directory, resume, role)
        reading = {"lines": lines, "separator": separator, "join": join}
        options = {**reading, "errors": errors, **{k: settings[k] for k in ("level", "validation_fraction")}}
        split = read_corpus(console, corpus, options)
        check_writable(output / name, name)
        given = {option: value for option, value in settings.items() if option in TUNABLE and value is not None}
        # Workers on this machine share its cores.
        share = max(workers, 1) if role is None else 1
        speed = None if settings["minutes"] is None else measured_speed() / share
        hypermodel = CharLMHyperModel(
            split,
            prune=settings["pruning"],
            speed=speed,
            **{k: settings[k] for k in ("minutes", "steps", "validation_fraction", "seed", "num_evaluations")},
            **given,
        )
        make_oracle(tuner, directory, trials, settings["seed"], settings["num_evaluations"])
        about = {"corpus": list(corpus), "sha256": split.sha256, **reading, "tuner": tuner}
        check_settings(console, directory, about | settings, resume, role)
    table = TrialTable(console, [name for name, values in hypermodel.choices.items() if values is None or values[1:]])
    _introduce(console, hypermodel, trials, workers)
    table.print_header()
    with one_line_errors((ValueError, OSError, ImportError, *RUNTIME_ERRORS)):
        try:
            with console.status("Training ..."):
                done = search(
                    hypermodel, tuner, directory, trials, workers=workers, seed=settings["seed"], resume=resume,
                    max_epochs=settings["num_evaluations"], stall_seconds=stall_seconds, on_trial=table.print_trial,
                    on_message=console.print,
                )  # fmt: skip
        except OSError:
            if role in (None, "chief") and not any(directory.glob("oracle.json*")):
                (directory / SETTINGS).unlink(missing_ok=True)  # the search has not started
            raise
        except KeyboardInterrupt:
            again = "" if resume else " --resume"
            click.echo(f"tfcharlm: interrupted; resume with {shlex.join(['tfcharlm', *sys.argv[1:]])}{again}", err=True)
            sys.exit(130)
    if done is None:
        return  # this is a worker; the chief does the rest
    stopped_because = done.oracle.stopped_because
    with one_line_errors():
        try:
            best = _write(console, done, directory)
            if best is not None:
                record = corpus_record(corpus, errors, reading, split)
                _export_best(console, best, done, hypermodel, output / name, record)
        except OSError:  # the disk may still be full
            if not stopped_because:
                raise
    if stopped_because:
        raise UserError(stopped_because)
    if best is None:
        raise UserError(_why_no_model(list(done.oracle.trials.values())))


def _introduce(console: Messages, hypermodel: CharLMHyperModel, trials: int | None, workers: int) -> None:
    split, base = hypermodel.split, hypermodel.base
    each = f"{base.steps:,} updates" if base.minutes is None else f"{60 * base.minutes:g} seconds of training"
    at_a_time = f", {workers} at a time" if workers > 1 else ""
    number = "Trials" if trials is None else f"{trials} trials"
    console.print(split.description, *split.notes, f"{number} of at most {each}{at_a_time}.\n", sep="\n")


def _write(console, done, directory):
    """Writes the leaderboard and its picture; returns the best trial, or None."""
    rows = leaderboard(done.oracle.trials.values())
    replace_file(directory / TABLE, lambda path: path.write_bytes(as_csv(rows)))
    finished = [row for row in rows if row["val_loss"] is not None]
    console.print(f"\n{len(finished)} of {len(rows)} trials have a result. Leaderboard: {directory / TABLE}")
    if not finished:
        return None
    try:
        picture = plots.image(plots.trials_plot(rows))
        replace_file(directory / PICTURE, lambda path: path.write_bytes(picture))
        console.print(f"Picture: {directory / PICTURE}")
    except ImportError as error:
        console.print(f"There is no picture of the trials: {error}")
    console.print(f"TensorBoard: tensorboard --logdir {shlex.quote(str(directory / 'tensorboard'))}")
    return done.oracle.trials[finished[0]["trial"]]


def _why_no_model(trials):
    if not trials:
        return "no trial has started, so there is no model; give more time or trials."
    lines = (trials[-1].message or "").strip().splitlines() or ["no error message"]
    return f"no trial has a result, so there is no model; the last one ended with: {lines[-1].strip():.200}"


def _export_best(console, trial, done, hypermodel, directory, corpus):
    """Evaluates the best model on all of the held-out text, and exports it."""
    model = done.load_model(trial)
    config = hypermodel.config(trial.hyperparameters)
    run = TrainingRun(hypermodel.split, config, model)
    measured = model.evaluate(run.validation_data, verbose=0, return_dict=True)
    if not math.isfinite(measured["loss"]):
        raise UserError("every trial diverged, so there is no model to keep; give a lower --learning-rate.")
    outcome = {"val_loss": measured["loss"], "val_bits_per_character": measured["bits_per_character"]}
    training = {**corpus, **vars(config), **outcome, "trial": trial.trial_id}
    records = {TRAINING: json.dumps(training, indent=1).encode()}
    with contextlib.suppress(FileNotFoundError, DamagedFileError):
        records[LEARNING_CURVE] = read_file(TrialFiles(done.project_dir, trial.trial_id).curve)
    exported = export_saved_model(model, next_version(directory), records)
    console.report("result", {"trial": trial.trial_id, **outcome, "model": str(exported), "options": vars(config)})
    console.print(
        f"\nThe best trial, {trial.trial_id}, on all of the held-out text: {measured['loss']:.4f} nats per token, "
        f"{measured['bits_per_character']:.4f} bits per character.\nModel: {exported}\nTrain it again with"
    )
    if config.minutes is not None and "tuner/trial_id" not in trial.hyperparameters.values:
        config = _by_updates(config, records.get(LEARNING_CURVE, b""))
    console.print(f"  tfcharlm train {_typed(corpus)} {_options(config)} --name NAME")


def _typed(corpus: Mapping[str, Any]) -> str:
    """The corpus of `training.json` as it would be typed."""
    names = [corpus["corpus"]] if isinstance(corpus["corpus"], str) else corpus["corpus"]
    words = [*names, *(f"--{switch}" for switch in ("lines", "join") if corpus.get(switch))]
    if corpus.get("separator", "\n") != "\n":
        words += ["--separator", typed_separator(corpus["separator"])]
    words += [] if corpus["errors"] == "strict" else ["--errors", corpus["errors"]]
    return shlex.join(words)


def _by_updates(config: TrainingConfig, curve: bytes) -> TrainingConfig:
    """The configuration with a trial's number of updates instead of its minutes, if its learning curve has them.

    Start-up and evaluations count towards the minutes of a training run, but not towards those of a trial.
    """
    try:
        # The row of a loss that is not finite has no step.
        steps = [row["step"] for row in csv.DictReader(curve.decode().splitlines()) if row.get("step")]
        return dataclasses.replace(config, minutes=None, steps=round(float(steps[-1]))) if steps else config
    except (ValueError, OverflowError, csv.Error):
        return config  # the curve is damaged


def _options(config: TrainingConfig) -> str:
    """The options of `tfcharlm train` that give this configuration."""
    # An option that --minutes would choose must be given.
    return as_options(
        {
            name: value
            for name, value in vars(config).items()
            if value is not None and (value != getattr(TrainingConfig, name) or (config.minutes and name in SUGGESTED))
        }
    )
