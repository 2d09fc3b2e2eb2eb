"""A worker's side of the chief: it says who asks, gives signs of life, and asks again when the chief is away."""

import contextlib
import threading
import time

import grpc
from keras_tuner.engine.trial import Trial, TrialStatus

from tfcharlm.tuning.fault_tolerance.leases import claim

SECONDS_BETWEEN_BEATS, SECONDS_BETWEEN_QUESTIONS = 5, 1


class Connection:
    """Stands before Keras Tuner's client of the chief's oracle.

    A question that the chief's death cut off is asked again: the chief's answers to the same question are the same.
    Keras Tuner itself waits up to an hour for a chief that is not there.

    Args:
        client: Keras Tuner's.
        worker: this worker's id.
    """

    def __init__(self, client, worker):
        self._client, self.worker, self.objective = client, worker, client.objective
        self._result = {}, 0

    def get_space(self):
        return self._ask(self._client.get_space)

    def create_trial(self, tuner_id):
        trial = self._ask(self._client.create_trial, tuner_id)
        if trial.status == TrialStatus.IDLE:
            time.sleep(SECONDS_BETWEEN_QUESTIONS)  # Keras Tuner asks again at once
        return trial

    def get_trial(self, trial_id):
        return self._ask(self._client.get_trial, claim(trial_id, self.worker))

    def update_trial(self, trial_id, metrics, step=0):
        """Keeps the result for `end_trial`, which sends both at once: the chief has all of a trial or nothing."""
        self._result = metrics, step

    def end_trial(self, trial):
        ended = Trial(trial.hyperparameters, claim(trial.trial_id, self.worker), trial.status)
        metrics, step = self._result
        self._result = {}, 0
        for name, value in metrics.items():
            ended.metrics.update(name, value, step)
        self._ask(self._client.end_trial, ended)

    @contextlib.contextmanager
    def alive(self, trial_id):
        """Gives a sign of life every few seconds; yields an event that is set when the trial is lost."""
        lost, over = threading.Event(), threading.Event()

        def beat():
            while not over.wait(SECONDS_BETWEEN_BEATS) and not lost.is_set():
                with contextlib.suppress(grpc.RpcError):
                    if self.get_trial(trial_id).status != TrialStatus.RUNNING and not over.is_set():
                        lost.set()

        threading.Thread(target=beat, daemon=True).start()
        try:
            yield lost
        finally:
            over.set()

    def _ask(self, question, *arguments):
        while True:
            try:
                return question(*arguments)
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise ConnectionError("the chief of the search has not answered for an hour.") from error
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                    raise
                time.sleep(SECONDS_BETWEEN_QUESTIONS)
