"""An oracle that loses nothing: what workers and files can do to it, and what it does then."""

import contextlib
import json
import sys
import threading
import time
import warnings

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from tfcharlm.tuning.fault_tolerance.leases import Leases, parse_claim
from tfcharlm.tuning.fault_tolerance.outcomes import DIVERGED, last_line, trial_outcome
from tfcharlm.tuning.fault_tolerance.recovery import recover
from tfcharlm.tuning.fault_tolerance.state_file import StateFile
from tfcharlm.tuning.fault_tolerance.trial_files import TrialFiles

MAX_DEATHS, MAX_FAILURES_IN_A_ROW = 10, 3


class FaultTolerantOracle:
    """Mixin for a `keras_tuner.Oracle`: no trial is lost or run twice, whoever dies, and nothing waits for the dead.

    - One file, `oracle.json`, has everything, and is on the disk before a worker hears of it.
    - A worker holds its trial by a lease. When the lease runs out, or the worker's death is known, the trial goes to
      the next worker that asks; the result of a worker that does not hold the trial is ignored.
    - A worker that asks when all trials are given out waits: one of them may come back.
    - A trial that raised is tried once more. After three failed trials in a row, the search is over. A loss that is no
      number is a result, of a model that diverged, and ends nothing.
    - Nothing raises: Keras Tuner's lock stays locked when something does under it, and the chief waits for ever.

    Args:
        directory: of the search.
        trials: how many there are in all; None for as many as the space and the time allow.
        clock: seconds that never go back.
        **kwargs: of the oracle's class.

    Attributes:
        stopped_because: one line if the search broke off, else None.
        seconds: time that the whole search may take, with what it took before it was interrupted. When it is over, no
            trial begins; those that run go on to their end.
        on_message: called with a line about every death, repetition and recovery.
    """

    def __init__(self, directory, trials=None, clock=time.monotonic, **kwargs):
        super().__init__(
            objective=keras_tuner.Objective("val_loss", "min"),
            max_consecutive_failed_trials=sys.maxsize,  # reaching it raises, see above
            **kwargs,
        )
        self.max_trials = trials
        self.verbose = 0
        self.directory = directory
        self.file = StateFile(f"{directory}/oracle.json")
        self.leases = Leases(clock=clock)
        self.lock = threading.RLock()
        self.stopped_because, self.seconds, self.on_message = None, None, warnings.warn
        # Trials to be given out again, in this order; how many workers died in a trial; which ones raised once.
        self.returned, self.deaths, self.raised = [], {}, []
        self._failures_in_a_row, self._exhausted = 0, False
        self._clock, self._began, self._earlier = clock, clock(), 0.0

    def spent(self):
        """Seconds of search, over all its interruptions."""
        return self._earlier + self._clock() - self._began

    def is_ending(self):
        """Whether no further trial will begin, whatever comes back."""
        return bool(self.stopped_because) or (self.seconds is not None and self.spent() >= self.seconds)

    def is_over(self):
        """Whether no trial runs and none will begin."""
        with self.lock:
            given_out = self._exhausted or (self.max_trials and len(self.trials) >= self.max_trials)
            return not self.ongoing_trials and bool(self.is_ending() or (given_out and not self.returned))

    def stop(self, reason):
        """No further trial begins, and the search counts as broken off."""
        with self.lock:
            self.stopped_because = self.stopped_because or reason

    def create_trial(self, tuner_id):
        with self._entry():
            self.expire()
            if tuner_id in self.ongoing_trials:
                self.worker_died(tuner_id, "was started again")
            self.leases.renew(tuner_id)
            self.tuner_ids.add(tuner_id)
            return self._next_trial(tuner_id)
        return self._no_trial(TrialStatus.STOPPED)

    def get_trial(self, trial_id):
        """The trial of an id. Of a `claim`, which renews the lease, it is INVALID if the worker holds it no more."""
        trial_id, worker = parse_claim(trial_id)
        with self.lock:
            if not worker:
                return self.trials[trial_id]
            if not self._holds(worker, trial_id):
                return self._no_trial(TrialStatus.INVALID, trial_id)
            self.leases.renew(worker)
            return self.trials[trial_id]

    def update_trial(self, trial_id, metrics, step=0):
        with self._entry():
            if self._holds(None, trial_id) and self.objective.name in metrics:
                return super().update_trial(trial_id, metrics, step)
        return self.get_trial(trial_id)

    def end_trial(self, trial):
        """Takes a result, if the trial is of this worker (see `claim`) and not over; otherwise does nothing."""
        trial_id, worker = parse_claim(trial.trial_id)
        with self._entry():
            if not self._holds(worker, trial_id):
                return
            ours = self.trials[trial_id]
            if trial.metrics.exists(self.objective.name):
                ours.metrics = trial.metrics
            message = trial.message or TrialFiles(self.directory, trial_id).error()
            status, message = trial_outcome(trial.status, message, ours.metrics, self.objective.name)
            if status == TrialStatus.INVALID and trial_id not in self.raised:
                self.raised.append(trial_id)
                self._give_back(trial_id)
                self.on_message(f"trial {trial_id} is tried once more: {last_line(message)}")
                self.save()
            else:
                self._end(trial_id, status, message, trial.hyperparameters)

    def expire(self):
        """Takes the trials of all workers whose lease has run out."""
        with self._entry():
            for worker in self.leases.expired():
                self.worker_died(worker, f"was not heard of for {self.leases.seconds} s")

    def worker_died(self, worker, how="died", counts=True):
        """Gives a dead worker's trial to the next one that asks; the tenth death in a trial that `counts` fails it."""
        with self._entry():
            self.leases.end(worker)
            self.tuner_ids.discard(worker)
            trial = self.ongoing_trials.get(worker)
            if trial is None:
                return
            trial_id = trial.trial_id
            self.deaths[trial_id] = self.deaths.get(trial_id, 0) + counts
            if self.deaths[trial_id] >= MAX_DEATHS:
                reason = f"{MAX_DEATHS} workers died in it; is there enough memory?"
                self._end(trial_id, TrialStatus.FAILED, reason, trial.hyperparameters)
                return
            self._give_back(trial_id)
            self.on_message(f"{worker} {how}; trial {trial_id} is given out again.")
            self.save()

    def save(self, fname=None):
        with self.lock:
            self.file.save(self.get_state())

    def reload(self):
        """Goes on where the newest readable state ends. Trials that ran are kept for their workers, with a new lease.

        Raises:
            ValueError: there is nothing to go on with.
        """
        with self.lock:
            message = recover(self, self.file)
            if message:
                self.on_message(message)
            for worker in self.ongoing_trials:
                self.leases.renew(worker)
                self.tuner_ids.add(worker)

    def get_state(self):
        return super().get_state() | {
            "kind": self.kind,
            "trials": {trial_id: trial.get_state() for trial_id, trial in self.trials.items()},
            "returned": self.returned,
            "deaths": self.deaths,
            "raised": self.raised,
            "spent": self.spent(),
        }

    def set_state(self, state):
        state = json.loads(json.dumps(state))  # Keras Tuner puts its objects into the dictionaries that it reads
        self.trials = {trial_id: Trial.from_state(trial) for trial_id, trial in state["trials"].items()}
        # Keras Tuner saves a trial's end before it takes the trial from its worker.
        over = set(state["end_order"])
        ongoing = {worker: trial_id for worker, trial_id in state["ongoing_trials"].items() if trial_id not in over}
        super().set_state(state | {"ongoing_trials": ongoing})
        self.returned = [trial_id for trial_id in state["returned"] if trial_id not in over]
        self.deaths, self.raised = state["deaths"], state["raised"]
        self._earlier, self._began = state["spent"], self._clock()

    @contextlib.contextmanager
    def _entry(self):
        """One caller at a time; whatever goes wrong ends the search instead of raising."""
        with self.lock:
            try:
                yield
            except Exception as error:
                self.stop(f"{type(error).__name__}: {' '.join(str(error).split())}")
                # From now on nothing reaches Keras Tuner's lock, which may never open again.
                self.ongoing_trials.clear()
                self.tuner_ids.clear()

    def _next_trial(self, tuner_id):
        """A trial that came back, or a new one, or none: IDLE while there may be one later, else STOPPED."""
        if not self.is_ending():
            if self.returned:
                return self._begin_again(self.returned.pop(0), tuner_id)
            trial = super().create_trial(tuner_id)
            if trial.status != TrialStatus.STOPPED:
                return trial
            if self.ongoing_trials:
                self.tuner_ids.add(tuner_id)
                return self._no_trial(TrialStatus.IDLE)
            self._exhausted = True
        self.tuner_ids.discard(tuner_id)
        self.leases.end(tuner_id)
        return self._no_trial(TrialStatus.STOPPED)

    def _no_trial(self, status, trial_id="none"):
        return Trial(self.get_space(), trial_id=trial_id, status=status)

    def _begin_again(self, trial_id, tuner_id):
        """Hands out a trial as if it had never run: nothing of what was reported is left."""
        trial = Trial(self.trials[trial_id].hyperparameters, trial_id=trial_id, status=TrialStatus.RUNNING)
        self.trials[trial_id] = self.ongoing_trials[tuner_id] = trial
        self.save()
        return trial

    def _holds(self, worker, trial_id):
        """Whether the worker, or anybody if it does not say who it is, runs the trial."""
        holders = [id_ for id_, trial in self.ongoing_trials.items() if trial.trial_id == trial_id]
        return bool(holders) and (not worker or worker in holders)

    def _give_back(self, trial_id):
        self.ongoing_trials = {w: trial for w, trial in self.ongoing_trials.items() if trial.trial_id != trial_id}
        self.returned.append(trial_id)

    def _end(self, trial_id, status, message, hyperparameters):
        """The trial is over, and on the disk before anybody hears of it."""
        # The copy that comes back may have new entries; the values that were given out stand.
        hyperparameters.values = hyperparameters.values | self.trials[trial_id].hyperparameters.values
        failed = status != TrialStatus.COMPLETED
        super().end_trial(Trial(hyperparameters, trial_id, TrialStatus.FAILED if failed else status, message))
        if status != DIVERGED:
            self._failures_in_a_row = self._failures_in_a_row + 1 if failed else 0
        if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            self.stop(f"{MAX_FAILURES_IN_A_ROW} trials in a row failed, the last one with: {last_line(message)}")
