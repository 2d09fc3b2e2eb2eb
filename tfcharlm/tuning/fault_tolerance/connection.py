"""A worker's connection to the chief: it names the worker, sends heartbeats, and retries while the chief is away."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import grpc
from keras_tuner import HyperParameters
from keras_tuner.engine.trial import Trial, TrialStatus

from tfcharlm.tuning.fault_tolerance.leases import claim

SECONDS_BETWEEN_HEARTBEATS, SECONDS_BETWEEN_REQUESTS = 5, 1


class Connection:
    """Wraps Keras Tuner's client, through which a worker reaches the chief's oracle.

    If the chief dies during a request, the request is sent again. This is safe, because the chief answers a repeated
    request as it answered the first. Keras Tuner itself waits up to an hour for a chief that is away.

    Args:
        client: Keras Tuner's client.
        worker: the id of this worker.
    """

    def __init__(self, client: Any, worker: str) -> None:
        self._client, self.worker, self.objective = client, worker, client.objective
        self._result: tuple[Mapping[str, float], int] = {}, 0

    def get_space(self) -> HyperParameters:
        return self._request(self._client.get_space)

    def create_trial(self, tuner_id: str) -> Trial:
        trial = self._request(self._client.create_trial, tuner_id)
        if trial.status == TrialStatus.IDLE:
            time.sleep(SECONDS_BETWEEN_REQUESTS)  # Keras Tuner repeats the request at once
        return trial

    def get_trial(self, trial_id: str) -> Trial:
        return self._request(self._client.get_trial, claim(trial_id, self.worker))

    def update_trial(self, trial_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
        """Keeps the result for `end_trial`, which sends it: so the chief has the whole trial or nothing of it."""
        self._result = metrics, step

    def end_trial(self, trial: Trial) -> None:
        ended = Trial(trial.hyperparameters, claim(trial.trial_id, self.worker), trial.status)
        metrics, step = self._result
        self._result = {}, 0
        for name, value in metrics.items():
            ended.metrics.update(name, value, step)
        self._request(self._client.end_trial, ended)

    @contextlib.contextmanager
    def alive(self, trial_id: str) -> Iterator[threading.Event]:
        """Sends a heartbeat every few seconds; yields an event that is set when this worker loses the trial."""
        lost, over = threading.Event(), threading.Event()

        def send_heartbeats():
            while not over.wait(SECONDS_BETWEEN_HEARTBEATS) and not lost.is_set():
                with contextlib.suppress(grpc.RpcError):
                    if self.get_trial(trial_id).status != TrialStatus.RUNNING and not over.is_set():
                        lost.set()

        threading.Thread(target=send_heartbeats, daemon=True).start()
        try:
            yield lost
        finally:
            over.set()

    def _request(self, method: Callable, *arguments: Any) -> Any:
        while True:
            try:
                return method(*arguments)
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise ConnectionError("the chief of the search has not answered for an hour.") from error
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                    raise
                time.sleep(SECONDS_BETWEEN_REQUESTS)
