"""Recovery of a search: the newest state that can be read, completed from Keras Tuner's own copies of the trials."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import keras_tuner
from keras_tuner.engine.trial import Trial

from tfcharlm.tuning.fault_tolerance.state_file import StateFile, read_json

ENDED = ("COMPLETED", "FAILED")
# What Keras Tuner's classes raise when they are made from something else than they have saved.
DAMAGED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class RecoverableOracle(Protocol):
    """What a recovery needs of an oracle: the kind of its search, its directory, and its state."""

    kind: str
    directory: Path | str
    end_order: list[str]

    def get_state(self) -> dict[str, Any]:
        """The state as plain data."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over a state."""


def recover(oracle: RecoverableOracle, file: StateFile) -> str | None:
    """Sets a fresh oracle to the newest state that can be read.

    This is `oracle.json`, else the generation before it, else the fresh state. To the last two are added the trials
    that are over according to `trial_<id>/trial.json`, Keras Tuner's own copy. So no finished trial is lost.

    Args:
        oracle: a `FaultTolerantOracle` that has not started.
        file: its `StateFile`.

    Returns:
        One line that says what was damaged and what was recovered; None if nothing was damaged.

    Raises:
        ValueError: the search is of another kind, or nothing can be read. No file is changed then.
    """
    fresh = oracle.get_state()
    for name, state in file.generations():
        if state.get("kind", oracle.kind) != oracle.kind:
            raise ValueError(f"the search in {oracle.directory} is of kind {state['kind']}, not {oracle.kind}.")
        newest = name == file.path.name
        try:
            oracle.set_state(state if newest else with_copies(state, read_copies(oracle.directory)))
        except DAMAGED:
            continue
        return None if newest else f"{file.path.name} was damaged: {_count(oracle)}"
    copies = read_copies(oracle.directory)
    if not copies:
        names = f"{file.path.name}, {file.previous.name} and trial_*/trial.json are missing or damaged"
        raise ValueError(
            f"no file of the search in {oracle.directory} can be read: {names}; start a search with another name."
        )
    space = copies[max(copies, key=int)]["hyperparameters"]
    oracle.set_state(with_copies(fresh | {"hyperparameters": space}, copies))
    return f"{file.path.name} and {file.previous.name} were damaged: {_count(oracle)}"


def read_copies(directory: Path | str) -> dict[str, dict[str, Any]]:
    """The states of trials by id, from those of Keras Tuner's copies that can be read."""
    states = {path.parent.name: read_json(path) for path in Path(directory).glob("trial_*/trial.json")}
    return {state["trial_id"]: state for name, state in states.items() if state is not None and _is_copy(name, state)}


def with_copies(state: dict[str, Any], copies: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The state of an oracle, with every trial over that is over in a copy.

    Keras Tuner gives a new trial the number of trials as its id. So no trial before the last finished one may be
    missing: a trial that is not over starts again, and a trial whose copy is damaged, too, counts as failed.
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


def _is_copy(name, state):
    """Whether this is the state of the trial to which the directory belongs."""
    trial_id = state.get("trial_id")
    if f"trial_{trial_id}" != name or not isinstance(trial_id, str) or not trial_id.isdecimal():
        return False
    try:
        trial = Trial.from_state(json.loads(json.dumps(state)))  # a copy: Keras Tuner puts objects of its own into it
        return isinstance(trial.hyperparameters.values, dict) and isinstance(trial.status, str)
    except DAMAGED:
        return False


def _count(oracle):
    return f"{len(oracle.end_order)} finished trials were recovered."
