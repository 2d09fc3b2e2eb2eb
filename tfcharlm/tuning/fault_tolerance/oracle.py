"""FaultTolerantOracle: what happens to a search when workers die, trials raise and files are damaged."""

import contextlib
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from tfcharlm.tuning.fault_tolerance.leases import DEFAULT_STALL_SECONDS, Leases, parse_claim, worker_of
from tfcharlm.tuning.fault_tolerance.outcomes import DISK_FULL, DIVERGED, disk_is_full, last_line, trial_outcome
from tfcharlm.tuning.fault_tolerance.saved_state import SavedState
from tfcharlm.tuning.fault_tolerance.state_file import StateFile
from tfcharlm.tuning.fault_tolerance.trial_files import TrialFiles

MAX_DEATHS, MAX_FAILURES_IN_A_ROW = 10, 3


class FaultTolerantOracle(SavedState):
    """Mixin for a `keras_tuner.Oracle`: whatever process dies, no trial is lost or run twice, and nothing waits for it.

    - One file, `oracle.json`, holds the whole state. It is on the disk before a worker learns of a change.
    - A worker holds its trial by a lease. When the lease runs out, or the worker is known to be dead, the trial goes to
      the next worker that asks. The result of a worker that does not hold the trial is ignored.
    - A lease needs heartbeats and steps of the trial: a worker that lives and makes no progress loses it, too.
    - A worker that asks while all trials are taken has to wait, because one of them may be returned.
    - A trial that raised is tried once more. After three failed trials in a row, the search ends. A loss that is not
      finite is a result, of a model that diverged; it does not end the search.
    - No method raises: an error under Keras Tuner's lock would leave it locked, and the chief would wait forever.

    Args:
        directory: directory of the search.
        trials: total number of trials; None (default) for as many as the space and the time allow.
        stall_seconds: how long a trial may be without a step; see `Leases`. The default is ten minutes.
        clock: a function that returns seconds and never goes back.
        **kwargs: arguments of the oracle's class.

    Attributes:
        stopped_because: one line if the search was aborted, else None.
        seconds: how long the whole search may take, including the time before an interruption; None is without a limit.
            After that, no trial starts, and running trials finish.
        on_message: called with a line about every death, repetition and recovery.
        on_expired: called with the id of a worker whose lease has run out. Nothing says that its process has ended.
    """

    def __init__(
        self,
        directory: Path | str,
        trials: int | None = None,
        stall_seconds: float = DEFAULT_STALL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            objective=keras_tuner.Objective("val_loss", "min"),
            max_consecutive_failed_trials=sys.maxsize,  # reaching it would raise, see above
            **kwargs,
        )
        self.max_trials = trials
        self.verbose = 0
        self.directory = directory
        self.file = StateFile(f"{directory}/oracle.json")
        self.leases = Leases(stall_seconds=stall_seconds, clock=clock)
        self.lock = threading.RLock()
        self.stopped_because: str | None = None
        self.seconds: float | None = None
        self.on_message = warnings.warn
        self.on_expired: Callable[[str], Any] = lambda worker: None
        self._replaced: set[str] = set()
        self.returned, self.deaths, self.raised = [], {}, []
        self._failures_in_a_row, self._exhausted = 0, False
        self._clock, self._started, self._earlier = clock, clock(), 0.0

    def is_ending(self) -> bool:
        """Whether no further trial will start, even if one is returned."""
        return bool(self.stopped_because) or (self.seconds is not None and self.spent() >= self.seconds)

    def is_over(self) -> bool:
        """Whether no trial is running and none will start."""
        with self.lock:
            all_taken = self._exhausted or (self.max_trials and len(self.trials) >= self.max_trials)
            return not self.ongoing_trials and bool(self.is_ending() or (all_taken and not self.returned))

    def stop(self, reason: str) -> None:
        """Aborts the search: no further trial starts."""
        with self.lock:
            self.stopped_because = self.stopped_because or reason

    def create_trial(self, tuner_id: str) -> Trial:
        with self._entry():
            self.expire()
            worker = worker_of(tuner_id)
            if tuner_id in self._replaced:
                reason = f"another process is {worker}, too; give each worker a KERASTUNER_TUNER_ID of its own."
                return self._no_trial(TrialStatus.STOPPED, message=reason)
            self._replaced.update(self.processes_of(worker) - {tuner_id})
            self.worker_died(worker, "was restarted")
            self.leases.renew(tuner_id)
            self.tuner_ids.add(tuner_id)
            return self._next_trial(tuner_id)
        return self._no_trial(TrialStatus.STOPPED)

    def processes_of(self, worker: str) -> set[str]:
        """The processes of a worker that the search knows: one, or more if a worker was started twice."""
        with self.lock:
            known = self.tuner_ids | self.ongoing_trials.keys()
            return {process for process in known if worker in (process, worker_of(process))}

    def get_trial(self, trial_id: str, steps: int | None = None) -> Trial:
        """The trial with this id. A `claim` renews the lease; the trial is INVALID if the worker has lost it.

        Args:
            trial_id: the id of a trial, or a `claim`.
            steps: how many steps of the trial the worker has made; None (default) if it does not say.
        """
        trial_id, worker = parse_claim(trial_id)
        with self.lock:
            if not worker:
                return self.trials[trial_id]
            if not self._holds(worker, trial_id):
                return self._no_trial(TrialStatus.INVALID, trial_id)
            self.leases.renew(worker, steps)
            return self.trials[trial_id]

    def update_trial(self, trial_id: str, metrics: Mapping[str, float], step: int = 0) -> Trial:
        with self._entry():
            if self._holds(None, trial_id) and self.objective.name in metrics:
                return super().update_trial(trial_id, metrics, step)
        return self.get_trial(trial_id)

    def end_trial(self, trial: Trial) -> None:
        """Accepts a result if the worker holds the trial (see `claim`) and the trial is not over; else ignores it."""
        trial_id, worker = parse_claim(trial.trial_id)
        with self._entry():
            if not self._holds(worker, trial_id):
                return
            self.leases.finish(worker)
            ours = self.trials[trial_id]
            if trial.metrics.exists(self.objective.name):
                ours.metrics = trial.metrics
            message = trial.message or TrialFiles(self.directory, trial_id).error()
            status, message = trial_outcome(trial.status, message, ours.metrics, self.objective.name)
            if status == TrialStatus.INVALID and disk_is_full(message):
                # The trial is not to blame, and neither is the next one.
                self._give_back(trial_id)
                self.stop(DISK_FULL)
                self.save()
            elif status == TrialStatus.INVALID and trial_id not in self.raised:
                self.raised.append(trial_id)
                self._give_back(trial_id)
                self.on_message(f"trial {trial_id} raised and is tried once more: {last_line(message)}")
                self.save()
            else:
                self._end(trial_id, status, message, trial.hyperparameters)

    def expire(self) -> None:
        """Takes the trials away from all workers whose lease has run out."""
        with self._entry():
            for process, how in self.leases.expired().items():
                self.worker_died(process, how)
                self.on_expired(worker_of(process))

    def worker_died(self, worker: str, how: str = "died", counts: bool = True) -> None:
        """Hands a dead worker's trial to the next worker; the tenth death that `counts` makes the trial fail."""
        with self._entry():
            self.leases.end(worker)
            for process in self.processes_of(worker):
                self.leases.end(process)
                self.tuner_ids.discard(process)
                trial = self.ongoing_trials.get(process)
                if trial is not None:
                    self._lose(trial, f"{worker_of(process)} {how}", counts)

    def _lose(self, trial, how, counts):
        trial_id = trial.trial_id
        self.deaths[trial_id] = self.deaths.get(trial_id, 0) + counts
        if self.deaths[trial_id] >= MAX_DEATHS:
            reason = f"{MAX_DEATHS} workers died in it; is there enough memory?"
            self._end(trial_id, TrialStatus.FAILED, reason, trial.hyperparameters)
            return
        self._give_back(trial_id)
        self.on_message(f"{how}; trial {trial_id} goes to the next worker.")
        self.save()

    @contextlib.contextmanager
    def _entry(self):
        """One caller at a time. An error aborts the search instead of being raised."""
        with self.lock:
            try:
                yield
            except Exception as error:
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                self.stop(DISK_FULL if disk_is_full(reason) else reason[:250])
                # So no caller will ever reach Keras Tuner's lock, which may be locked forever.
                self.ongoing_trials.clear()
                self.tuner_ids.clear()

    def _next_trial(self, tuner_id):
        """A returned trial or a new one. If there is none, a trial that is IDLE if one may follow, else STOPPED."""
        if not self.is_ending():
            if self.returned:
                return self._restart_trial(self.returned.pop(0), tuner_id)
            trial = super().create_trial(tuner_id)
            if trial.status != TrialStatus.STOPPED:
                self.leases.begin(tuner_id)
                return trial
            if self.ongoing_trials:
                self.tuner_ids.add(tuner_id)
                return self._no_trial(TrialStatus.IDLE)
            self._exhausted = True
        self.tuner_ids.discard(tuner_id)
        self.leases.end(tuner_id)
        return self._no_trial(TrialStatus.STOPPED)

    def _no_trial(self, status, trial_id="none", message=None):
        return Trial(self.get_space(), trial_id=trial_id, status=status, message=message)

    def _restart_trial(self, trial_id, tuner_id):
        """Hands out a trial as if it had never run, without the metrics of its earlier run."""
        trial = Trial(self.trials[trial_id].hyperparameters, trial_id=trial_id, status=TrialStatus.RUNNING)
        self.trials[trial_id] = self.ongoing_trials[tuner_id] = trial
        self.leases.begin(tuner_id)
        self.save()
        return trial

    def _holds(self, worker, trial_id):
        """Whether this worker runs the trial; if none is named, whether any worker does."""
        holders = [id_ for id_, trial in self.ongoing_trials.items() if trial.trial_id == trial_id]
        return bool(holders) and (not worker or worker in holders)

    def _give_back(self, trial_id):
        self.ongoing_trials = {w: trial for w, trial in self.ongoing_trials.items() if trial.trial_id != trial_id}
        self.returned.append(trial_id)

    def _end(self, trial_id, status, message, hyperparameters):
        """Ends a trial; its result is on the disk before anybody learns of it."""
        # The worker's copy may have new entries, but the values that were handed out must stay.
        hyperparameters.values = hyperparameters.values | self.trials[trial_id].hyperparameters.values
        failed = status != TrialStatus.COMPLETED
        super().end_trial(Trial(hyperparameters, trial_id, TrialStatus.FAILED if failed else status, message))
        if status != DIVERGED:
            self._failures_in_a_row = self._failures_in_a_row + 1 if failed else 0
        if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            self.stop(f"{MAX_FAILURES_IN_A_ROW} trials in a row failed, the last one with: {last_line(message)}")
