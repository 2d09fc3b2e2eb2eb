"""A search from its beginning, or from where it was interrupted, to its end: alone, as a chief, or as a worker."""

import contextlib
import os
import socket
import sys
import threading
import time
import warnings
from pathlib import Path

from tfcharlm.atomic_files import lock
from tfcharlm.tuning.fault_tolerance import SearchTuner, Workers, end_with_chief, make_oracle

VARIABLES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
CHIEF, LOCALHOST = "chief", "127.0.0.1"
SECONDS_BETWEEN_POLLS = 0.2


def search(
    hypermodel,
    kind,
    directory,
    trials=None,
    minutes=None,
    workers=0,
    seed=0,
    max_epochs=None,
    resume=False,
    worker_command=None,
    on_trial=lambda trial: None,
    on_message=warnings.warn,
):
    """Searches for the hyperparameters with the smallest `val_loss`; survives the death of every process.

    One process does everything, or it is the chief of `workers` processes that it starts on this machine. For many
    machines, the same program is started on each, with a common directory and Keras Tuner's variables:
    `KERASTUNER_ORACLE_IP` and `KERASTUNER_ORACLE_PORT`, the address of the chief, and `KERASTUNER_TUNER_ID`, which is
    `chief` for one process and `worker0`, `worker1`, ... for the others.

    Args:
        hypermodel: see `SearchTuner`.
        kind: "random", "hyperband", "bayesian" or "grid".
        directory: of the search, for its state and the files of its trials.
        trials: how many in all, with those before an interruption.
        minutes: how long in all, with the time before an interruption. No trial begins later; those that run go on.
        workers: number of processes to start; 0 to run the trials in this one.
        seed: of the draws. A search that goes on has its own.
        max_epochs: of Hyperband's longest trials.
        resume: whether to go on with the search that is in the directory, if there is one.
        worker_command: program and arguments of a worker, which must come to this function with the same arguments;
            by default those of this process.
        on_trial: called with each `keras_tuner.engine.trial.Trial` that is over, in order, those from before an
            interruption first; not in workers.
        on_message: called with a line about each death, repetition and recovery.

    Returns:
        A `SearchTuner`: its `oracle` has the trials, and in `stopped_because` a line if the search broke off; its
        `load_model(trial)` gives models. None in a worker.

    Raises:
        ValueError: the search has no end; or the directory has one and `resume` is false, or it is of another kind,
            cannot be read, or runs at this moment.
    """
    if trials is None and minutes is None and kind in ("random", "bayesian"):
        raise ValueError(f"a {kind} search has no end of its own: give trials or minutes, such as trials=30.")
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
            raise ValueError(f"{directory} has a search; go on with it (resume), or choose another name.")
        if continues:
            oracle.reload()
        if role is None and workers == 0:
            return _search_alone(oracle, hypermodel, directory, not continues, on_trial)
        with _chief(role) as address:
            tuner = SearchTuner(oracle, hypermodel, directory, explore=not continues)
            command = worker_command or [sys.executable, *sys.orig_argv[1:]]
            crew = Workers(oracle, command, 0 if role else workers, address, directory / "logs")
            _search_as_chief(tuner, crew, on_trial)
            return tuner


def role_from_environment():
    """What a launcher, or a chief on this machine, wants this process to be: "chief", a worker's id, or None.

    Raises:
        ValueError: the variables are incomplete.
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
    over = _new_ends(oracle, on_trial)
    over()
    tuner = SearchTuner(oracle, hypermodel, directory, explore, on_trial_over=over)
    try:
        tuner.search()
    except KeyboardInterrupt:
        oracle.worker_died(tuner.tuner_id, "was interrupted", counts=False)
        raise
    return tuner


def _search_as_chief(tuner, crew, on_trial):
    oracle, over, crashed = tuner.oracle, _new_ends(tuner.oracle, on_trial), []

    def serve():
        try:
            tuner.search()
        except Exception as error:
            crashed.append(error)

    if crew.workers:
        # They ended with their chief: nobody else will come for their trials, and the trials are not to blame.
        for worker in list(oracle.ongoing_trials):
            oracle.worker_died(worker, "ended with its chief", counts=False)
    over()
    if crew.workers and oracle.is_over():
        return
    # Workers on other machines may not have heard that the search is over.
    stays_until = time.monotonic() + (0 if crew.workers else oracle.leases.seconds)
    # Keras Tuner's server looks every 20 s whether everybody has left; nobody waits for it.
    threading.Thread(target=serve, daemon=True).start()
    try:
        while not crashed and not (oracle.is_over() and not oracle.tuner_ids and time.monotonic() > stays_until):
            crew.poll()
            oracle.expire()
            over()
            time.sleep(SECONDS_BETWEEN_POLLS)
    finally:
        crew.stop()
    over()
    if crashed:
        raise OSError(f"the chief cannot serve its workers: {crashed[0]}") from crashed[0]


def _new_ends(oracle, on_trial):
    """A function that calls `on_trial` for the trials that have ended since it was called last; at first, for all."""
    known = 0

    def look():
        nonlocal known
        for trial_id in oracle.end_order[known:]:
            known += 1
            on_trial(oracle.trials[trial_id])

    return look


@contextlib.contextmanager
def _chief(role):
    """Makes this process Keras Tuner's chief; yields its address (host, port)."""
    if role:
        yield os.environ[VARIABLES[1]], int(os.environ[VARIABLES[2]])
        return
    with socket.socket() as free:
        free.bind((LOCALHOST, 0))
        port = free.getsockname()[1]
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update(zip(VARIABLES, ("chief", LOCALHOST, str(port)), strict=True))
    try:
        yield LOCALHOST, port
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
