"""Runs a search, or resumes one that was interrupted: in one process, as the chief of workers, or as a worker."""

import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial

from tfcharlm.atomic_files import lock
from tfcharlm.checks import POSITIVE
from tfcharlm.training import Patience, ends_on_sigterm
from tfcharlm.tuning.fault_tolerance import (
    DEFAULT_STALL_SECONDS,
    SearchTuner,
    Server,
    Workers,
    connect,
    end_with_chief,
    forget_secret,
    make_oracle,
    make_secret,
    process_of,
)
from tfcharlm.tuning.role import CHIEF, chief_address, role_from_environment

LOCALHOST = "127.0.0.1"
SECONDS_BETWEEN_POLLS = 0.2


def search(
    hypermodel: keras_tuner.HyperModel,
    kind: str,
    directory: Path | str,
    trials: int | None = None,
    minutes: float | None = None,
    workers: int = 0,
    seed: int = 0,
    max_epochs: int | None = None,
    resume: bool = False,
    worker_command: Sequence[str] | None = None,
    stall_seconds: float = DEFAULT_STALL_SECONDS,
    on_trial: Callable[[Trial], Any] = lambda trial: None,
    on_message: Callable[[str], Any] = warnings.warn,
) -> SearchTuner | None:
    """Searches for the hyperparameters with the smallest `val_loss`. It survives the death of any process.

    This process either runs all trials itself, or is the chief of `workers` processes that it starts on this machine.
    On several machines, start the same program on each, with a common directory and Keras Tuner's environment
    variables. `KERASTUNER_ORACLE_IP` and `KERASTUNER_ORACLE_PORT` are the address of the chief. `KERASTUNER_TUNER_ID`
    is `chief` for one process and `worker0`, `worker1`, ... for the others. Only processes that know the secret of the
    search may take part. The chief writes it to the file `secret` in the directory, for this user only. If the machines
    have no common directory, or several users take part, give all processes the same `TFCHARLM_SEARCH_SECRET`.

    Args:
        hypermodel: a `keras_tuner.HyperModel`, such as a `CharLMHyperModel`. `SearchTuner` documents what its methods
            return.
        kind: "random", "hyperband", "bayesian" or "grid".
        directory: directory of the search, for its state and the files of its trials.
        trials: total number of trials, including those before an interruption. None (default) is without a limit; a
            random or Bayesian search then needs `minutes`.
        minutes: total time, including the time before an interruption. After it no trial starts, and running trials
            finish. None (default) is without a limit.
        workers: number of processes to start; 0 (default) runs the trials in this process.
        seed: seed of the draws. A resumed search keeps its own.
        max_epochs: number of epochs of Hyperband's longest trials; None (default) takes the one of `make_oracle`.
        resume: whether to resume the search in the directory, if there is one. False (default) refuses to.
        worker_command: program and arguments that start a worker. It must call this function with the same arguments.
            None (default) takes the command of this process.
        stall_seconds: how long a worker's trial may be without a step (a batch, an evaluation or an epoch) before the
            worker is replaced, and its trial tried again; six times as long before the first step. The default is ten
            minutes. A search in one process does not use it.
        on_trial: called with each finished `keras_tuner.engine.trial.Trial`, in the order in which they finished, those
            from before an interruption first. Workers do not call it.
        on_message: called with a line about each death, repetition and recovery.

    Returns:
        A `SearchTuner`. Its `oracle` has the trials; `oracle.stopped_because` is a line if the search was aborted, else
        None; `load_model(trial)` gives the model of a trial. A worker returns None.

    Raises:
        ValueError: the search would never end; or the directory has a search, and `resume` is False, or the search is
            of another kind, cannot be read, or is running; or an environment variable is wrong.
        OSError: the chief cannot listen at its address; a worker's secret is wrong; no other process came for an hour,
            or for the seconds in `TFCHARLM_PEER_SECONDS`.

    Example:

    >>> import tempfile
    >>> from tfcharlm.tuning import CharLMHyperModel, leaderboard, search
    >>> hypermodel = CharLMHyperModel("to be or not to be\\n" * 100, steps=4, num_evaluations=2, layers=1, units=[4, 8])
    >>> tuner = search(hypermodel, "random", tempfile.mkdtemp(), trials=1)
    >>> [row["status"] for row in leaderboard(tuner.oracle.trials.values())]
    ['COMPLETED']
    """
    if trials is None and minutes is None and kind in ("random", "bayesian"):
        raise ValueError(
            f"a {kind} search needs trials or minutes, or it would never end; give one, such as trials=30."
        )
    directory = Path(directory).absolute()
    stall_seconds = POSITIVE.check("stall_seconds", stall_seconds)
    oracle = make_oracle(kind, directory, trials, seed, max_epochs, stall_seconds=stall_seconds)
    oracle.on_message, oracle.seconds = on_message, None if minutes is None else 60 * minutes
    role = role_from_environment()
    if role not in (None, CHIEF):
        end_with_chief()
        connection = connect(*chief_address(), directory, process_of(role), oracle.objective, on_message)
        SearchTuner(oracle, hypermodel, directory, explore=False, connection=connection).search()
        return None
    with lock(directory, "a search"):
        continues = oracle.file.exists() or any(directory.glob("trial_*/trial.json"))
        if continues and not resume:
            raise ValueError(f"{directory} has a search; give resume=True to resume it, or another directory.")
        if continues:
            oracle.reload()
        if role is None and workers == 0:
            return _search_alone(oracle, hypermodel, directory, not continues, on_trial)
        tuner = SearchTuner(oracle, hypermodel, directory, explore=not continues)
        # The secret and the state are on the disk before a worker reaches the chief.
        secret = make_secret(directory, on_message)
        try:
            server = Server(oracle, *(chief_address() if role else (LOCALHOST, 0)), secret)
        except OSError:
            if not continues:  # else workers may be waiting for a chief that knows it
                forget_secret(directory)
            raise
        oracle.save()
        command = worker_command or [sys.executable, *sys.orig_argv[1:]]
        local_workers = Workers(oracle, command, 0 if role else workers, (LOCALHOST, server.port), directory / "logs")
        try:
            with ends_on_sigterm():
                server.start()
                _search_as_chief(tuner, local_workers, server, on_trial)
        finally:
            local_workers.stop()
            server.stop()
            if not role or oracle.is_over():
                forget_secret(directory)
        return tuner


def _search_alone(oracle, hypermodel, directory, explore, on_trial):
    for worker in list(oracle.ongoing_trials):
        oracle.worker_died(worker, "was interrupted")
    report_finished = _finished_trials_reporter(oracle, on_trial)
    report_finished()
    tuner = SearchTuner(oracle, hypermodel, directory, explore, on_trial_over=report_finished)
    try:
        tuner.search()
    except KeyboardInterrupt:
        oracle.worker_died(tuner.tuner_id, "was interrupted", counts=False)
        raise
    return tuner


def _search_as_chief(tuner, local_workers, server, on_trial):
    oracle, report_finished = tuner.oracle, _finished_trials_reporter(tuner.oracle, on_trial)
    if local_workers.workers:
        # The workers of an interrupted search ended with their chief. They will not come back for their trials, and the
        # trials are not to blame.
        for worker in list(oracle.ongoing_trials):
            oracle.worker_died(worker, "ended with its chief", counts=False)
    report_finished()
    if local_workers.workers and oracle.is_over():
        return
    # Workers on other machines may not know yet that the search is over.
    stays_until = time.monotonic() + (0 if local_workers.workers else oracle.leases.seconds)
    patience = Patience(oracle.on_message)
    while not (oracle.is_over() and not oracle.tuner_ids and time.monotonic() > stays_until):
        local_workers.poll()
        oracle.expire()
        report_finished()
        if oracle.tuner_ids or local_workers.workers or oracle.is_over():
            patience.reset()
        else:
            patience.check(f"no worker is connected to the chief of the search, at port {server.port}")
        time.sleep(SECONDS_BETWEEN_POLLS)
    report_finished()


def _finished_trials_reporter(oracle, on_trial):
    """A function that calls `on_trial` for every trial that has finished since the last call."""
    reported = 0

    def report():
        nonlocal reported
        for trial_id in oracle.end_order[reported:]:
            reported += 1
            on_trial(oracle.trials[trial_id])

    return report
