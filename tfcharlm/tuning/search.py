"""Runs a search, or resumes one that was interrupted: in one process, as the chief of workers, or as a worker."""

import contextlib
import os
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial

from tfcharlm.atomic_files import lock
from tfcharlm.tuning.fault_tolerance import SearchTuner, Workers, end_with_chief, make_oracle

VARIABLES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
CHIEF, LOCALHOST = "chief", "127.0.0.1"
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
    on_trial: Callable[[Trial], Any] = lambda trial: None,
    on_message: Callable[[str], Any] = warnings.warn,
) -> SearchTuner | None:
    """Searches for the hyperparameters with the smallest `val_loss`. It survives the death of any process.

    This process either runs all trials itself, or is the chief of `workers` processes that it starts on this machine.
    On several machines, start the same program on each, with a common directory and Keras Tuner's environment
    variables. `KERASTUNER_ORACLE_IP` and `KERASTUNER_ORACLE_PORT` are the address of the chief. `KERASTUNER_TUNER_ID`
    is `chief` for one process and `worker0`, `worker1`, ... for the others.

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
        on_trial: called with each finished `keras_tuner.engine.trial.Trial`, in the order in which they finished, those
            from before an interruption first. Workers do not call it.
        on_message: called with a line about each death, repetition and recovery.

    Returns:
        A `SearchTuner`. Its `oracle` has the trials; `oracle.stopped_because` is a line if the search was aborted, else
        None; `load_model(trial)` gives the model of a trial. A worker returns None.

    Raises:
        ValueError: the search would never end; or the directory has a search, and `resume` is False, or the search is
            of another kind, cannot be read, or is running.

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
    oracle = make_oracle(kind, directory, trials, seed, max_epochs)
    oracle.on_message, oracle.seconds = on_message, None if minutes is None else 60 * minutes
    role = role_from_environment()
    if role not in (None, CHIEF):
        end_with_chief()
        SearchTuner(oracle, hypermodel, directory, explore=False).search()
        return None
    with lock(directory, "a search"):
        continues = oracle.file.exists() or any(directory.glob("trial_*/trial.json"))
        if continues and not resume:
            raise ValueError(f"{directory} has a search; give resume=True to resume it, or another directory.")
        if continues:
            oracle.reload()
        if role is None and workers == 0:
            return _search_alone(oracle, hypermodel, directory, not continues, on_trial)
        with _chief(role) as address:
            tuner = SearchTuner(oracle, hypermodel, directory, explore=not continues)
            command = worker_command or [sys.executable, *sys.orig_argv[1:]]
            local_workers = Workers(oracle, command, 0 if role else workers, address, directory / "logs")
            _search_as_chief(tuner, local_workers, on_trial)
            return tuner


def role_from_environment() -> str | None:
    """The role that Keras Tuner's environment variables give this process.

    A launcher sets the variables, or a chief that starts its workers on this machine.

    Returns:
        "chief", the id of a worker, or None if the variables are not set.

    Raises:
        ValueError: only some of the variables are set, or the port is not a number.

    Example:

    >>> from tfcharlm.tuning import role_from_environment
    >>> print(role_from_environment())
    None
    """
    given = {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}
    if not given:
        return None
    if len(given) < len(VARIABLES) or not given[VARIABLES[2]].isdecimal():
        received = " ".join(f"{name}={value}" for name, value in given.items())
        raise ValueError(
            f"a search on several machines needs {', '.join(VARIABLES)}, such as worker0, 10.0.0.1 and 8000; "
            f"received {received}."
        )
    return CHIEF if CHIEF in given[VARIABLES[0]] else given[VARIABLES[0]]


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


def _search_as_chief(tuner, local_workers, on_trial):
    oracle, report_finished, errors = tuner.oracle, _finished_trials_reporter(tuner.oracle, on_trial), []

    def serve():
        try:
            tuner.search()
        except Exception as error:
            errors.append(error)

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
    # Keras Tuner's server checks only every 20 s whether all workers have left. A daemon thread: nothing waits for it.
    threading.Thread(target=serve, daemon=True).start()
    try:
        while not errors and not (oracle.is_over() and not oracle.tuner_ids and time.monotonic() > stays_until):
            local_workers.poll()
            oracle.expire()
            report_finished()
            time.sleep(SECONDS_BETWEEN_POLLS)
    finally:
        local_workers.stop()
    report_finished()
    if errors:
        raise OSError(f"the chief cannot serve its workers: {errors[0]}") from errors[0]


def _finished_trials_reporter(oracle, on_trial):
    """A function that calls `on_trial` for every trial that has finished since the last call."""
    reported = 0

    def report():
        nonlocal reported
        for trial_id in oracle.end_order[reported:]:
            reported += 1
            on_trial(oracle.trials[trial_id])

    return report


@contextlib.contextmanager
def _chief(role: str | None) -> Iterator[tuple[str, int]]:
    """Makes this process Keras Tuner's chief and yields its address `(host, port)`."""
    if role:
        yield os.environ[VARIABLES[1]], int(os.environ[VARIABLES[2]])
        return
    with socket.socket() as probe:  # finds a free port
        probe.bind((LOCALHOST, 0))
        port = probe.getsockname()[1]
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update(zip(VARIABLES, ("chief", LOCALHOST, str(port)), strict=True))
    try:
        yield LOCALHOST, port
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
