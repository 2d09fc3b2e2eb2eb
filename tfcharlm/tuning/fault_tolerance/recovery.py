"""Back to the newest state of a search that can be read, and what Keras Tuner's copies know beyond it."""

from pathlib import Path

import keras_tuner
from keras_tuner.engine.trial import Trial

from tfcharlm.tuning.fault_tolerance.state_file import read_json

ENDED = ("COMPLETED", "FAILED")
# More than a trial ever draws: the values of trials that are drawn after a recovery are others than before.
DRAWS_PER_TRIAL = 1000


def recover(oracle, file):
    """Sets a fresh oracle to the newest state that can be read.

    That is `oracle.json`; else the generation before it; else the fresh state. To the last two come the trials of
    which `trial_<id>/trial.json`, Keras Tuner's own copy, says that they are over: no finished trial is lost.

    Args:
        oracle: a `FaultTolerantOracle` that has not begun.
        file: its `StateFile`.

    Returns:
        One line on what was damaged and what was recovered; None if nothing was damaged.

    Raises:
        ValueError: the search is of another kind, or nothing can be read. No file has been changed.
    """
    fresh = oracle.get_state()
    for name, state in file.generations():
        if state.get("kind", oracle.kind) != oracle.kind:
            raise ValueError(f"the search in {oracle.directory} is of kind {state['kind']}, not {oracle.kind}.")
        newest = name == file.path.name
        try:
            oracle.set_state(state if newest else with_copies(state, read_copies(oracle.directory)))
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
        return None if newest else f"{file.path.name} was damaged: {_count(oracle)}"
    copies = read_copies(oracle.directory)
    if not copies:
        raise ValueError(f"nothing of the search in {oracle.directory} can be read; begin one with another name.")
    space = copies[max(copies, key=int)]["hyperparameters"]
    seed_state = fresh["seed_state"] + DRAWS_PER_TRIAL * len(copies)
    oracle.set_state(with_copies(fresh | {"hyperparameters": space, "seed_state": seed_state}, copies))
    return f"{file.path.name} and {file.previous.name} were damaged: {_count(oracle)}"


def read_copies(directory):
    """The states of trials by id, from Keras Tuner's copies, as far as they can be read."""
    states = [read_json(path) for path in Path(directory).glob("trial_*/trial.json")]
    keys = {"trial_id", "status", "hyperparameters"}
    return {state["trial_id"]: state for state in states if state is not None and keys <= state.keys()}


def with_copies(state, copies):
    """The state of an oracle in which the trials are over that are over in a copy.

    A new trial's id is the number of trials. So of those before the last one that is over none may be missing: one
    that is not over begins again, one whose copy is damaged, too, counts as failed.
    """
    over = {trial_id: copy for trial_id, copy in copies.items() if copy["status"] in ENDED}
    trials, ended, returned = state["trials"] | over, list(state["end_order"]), list(state["returned"])
    ended += sorted(over.keys() - set(ended), key=int)
    numbers = {int(trial_id) for trial_id in trials}
    for number in sorted(set(range(max(numbers, default=0))) - numbers):
        trial_id = str(number).zfill(len(max(trials, key=int)))
        if trial_id in copies:
            trials[trial_id] = copies[trial_id]
            returned.append(trial_id)
        else:
            lost = Trial(keras_tuner.HyperParameters(), trial_id, "FAILED", "its files were damaged")
            trials[trial_id] = lost.get_state()
            ended.append(trial_id)
    order = list(dict.fromkeys([*state["start_order"], *sorted(trials, key=int)]))
    trials = {trial_id: trials[trial_id] for trial_id in order}
    return state | {"trials": trials, "start_order": order, "end_order": ended, "returned": returned}


def _count(oracle):
    return f"{len(oracle.end_order)} finished trials were recovered."
