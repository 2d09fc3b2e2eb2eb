"""The state of a search as JSON: what an oracle saves, and how it resumes from what was saved."""

import json
import threading
from collections.abc import Callable
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial

from tfcharlm.tuning.fault_tolerance.leases import Leases
from tfcharlm.tuning.fault_tolerance.recovery import recover
from tfcharlm.tuning.fault_tolerance.state_file import StateFile


class SavedState(keras_tuner.Oracle):
    """The methods of `FaultTolerantOracle` that save its state and read it again, and the attributes that they use.

    Attributes:
        kind: the kind of search: "random", "hyperband", "bayesian" or "grid".
        file: the `StateFile` of the search.
        returned: ids of the trials to hand out again, in this order.
        deaths: how many workers died in a trial, by its id.
        raised: ids of the trials that raised once.
    """

    kind: str
    file: StateFile
    lock: threading.RLock
    leases: Leases
    on_message: Callable[[str], Any]
    returned: list[str]
    deaths: dict[str, int]
    raised: list[str]
    _clock: Callable[[], float]
    _started: float
    _earlier: float

    def spent(self) -> float:
        """Seconds that the search has taken, including the time before an interruption."""
        return self._earlier + self._clock() - self._started

    def save(self, fname: str | None = None) -> None:
        with self.lock:
            self.file.save(self.get_state())

    def reload(self) -> None:
        """Resumes from the newest readable state. Running trials stay with their workers, under new leases.

        Raises:
            ValueError: there is nothing to resume.
        """
        with self.lock:
            message = recover(self, self.file)
            if message:
                self.on_message(message)
            for worker in self.ongoing_trials:
                self.leases.begin(worker)
                self.tuner_ids.add(worker)

    def get_state(self) -> dict[str, Any]:
        return super().get_state() | {
            "kind": self.kind,
            "trials": {trial_id: trial.get_state() for trial_id, trial in self.trials.items()},
            "returned": self.returned,
            "deaths": self.deaths,
            "raised": self.raised,
            "spent": self.spent(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        state = json.loads(json.dumps(state))  # a copy: Keras Tuner puts objects of its own into what it reads
        self.trials = {trial_id: Trial.from_state(trial) for trial_id, trial in state["trials"].items()}
        # Keras Tuner saves that a trial is over before it takes the trial from its worker.
        over = set(state["end_order"])
        ongoing = {worker: trial_id for worker, trial_id in state["ongoing_trials"].items() if trial_id not in over}
        super().set_state(state | {"ongoing_trials": ongoing})
        self.returned = [trial_id for trial_id in state["returned"] if trial_id not in over]
        self.deaths, self.raised = state["deaths"], state["raised"]
        self._earlier, self._started = state["spent"], self._clock()
