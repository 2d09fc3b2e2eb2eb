"""A worker's connection to the chief: it names the worker, sends heartbeats, and retries while the chief is away."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
from keras_tuner import HyperParameters, Objective
from keras_tuner.engine.trial import Trial, TrialStatus

from tfcharlm.training import Patience, ends_on_sigterm, resolution_error
from tfcharlm.tuning.fault_tolerance.heartbeat import TrialLease
from tfcharlm.tuning.fault_tolerance.leases import claim, worker_of
from tfcharlm.tuning.fault_tolerance.secret import VARIABLE, read_secret
from tfcharlm.tuning.fault_tolerance.service import Client

LOGGER = logging.getLogger(__name__)
SECONDS_BETWEEN_HEARTBEATS, SECONDS_BETWEEN_REQUESTS = 5, 1
# The time that a worker has to stop the training of a trial that it has lost.
SECONDS_TO_STOP = 60
MAX_REFUSALS = 4
AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)


class Connection:
    """The oracle of a worker: it asks the chief's.

    If the chief dies during a request, the request is sent again. This is safe, because the chief answers a repeated
    request as it answered the first.

    Args:
        client: a `Client`, or another object with its methods.
        worker: the id of this worker, with a random number for this process (`process_of`).
        notify: called with a line if the chief is away for long.
    """

    def __init__(self, client: Any, worker: str, notify: Callable[[str], Any] | None = None) -> None:
        self._client, self.worker, self.objective = client, worker, client.objective
        self._result: tuple[Mapping[str, float], int] = {}, 0
        self._patience = Patience(notify)

    def get_space(self) -> HyperParameters:
        return self._request(self._client.get_space)

    def create_trial(self, tuner_id: str) -> Trial:
        trial = self._request(self._client.create_trial, self.worker)
        if trial.status == TrialStatus.STOPPED and trial.message:
            raise ConnectionError(trial.message)
        if trial.status == TrialStatus.IDLE:
            time.sleep(SECONDS_BETWEEN_REQUESTS)  # Keras Tuner repeats the request at once
        return trial

    def get_trial(self, trial_id: str) -> Trial:
        return self._request(self._client.get_trial, claim(trial_id, self.worker))

    def update_trial(self, trial_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
        """Keeps the result for `end_trial`, which sends it: so the chief has the whole trial or nothing of it."""
        self._result = metrics, step

    def end_trial(self, trial: Trial) -> None:
        ended = Trial(trial.hyperparameters, claim(trial.trial_id, self.worker), trial.status, trial.message)
        metrics, step = self._result
        self._result = {}, 0
        for name, value in metrics.items():
            ended.metrics.update(name, value, step)
        self._request(self._client.end_trial, ended)

    @contextlib.contextmanager
    def alive(self, trial_id: str) -> Iterator[TrialLease]:
        """Sends a heartbeat every few seconds, with the steps that the callback has counted which it yields."""
        lease, over = TrialLease(), threading.Event()

        def send_heartbeats():
            while not lease.lost.is_set():
                if over.wait(SECONDS_BETWEEN_HEARTBEATS):
                    return
                with contextlib.suppress(grpc.RpcError):
                    trial = self._client.get_trial(claim(trial_id, self.worker), lease.steps)
                    if trial.status != TrialStatus.RUNNING and not over.is_set():
                        lease.lost.set()
            steps = -1
            while lease.steps != steps:
                steps = lease.steps
                if over.wait(SECONDS_TO_STOP):
                    return
            # The training hangs, and this process can do nothing else any more.
            LOGGER.warning("tfcharlm: %s ends, because trial %s hangs.", worker_of(self.worker), trial_id)
            os._exit(1)

        threading.Thread(target=send_heartbeats, daemon=True).start()
        try:
            yield lease
        finally:
            over.set()

    def _request(self, method: Callable, *arguments: Any) -> Any:
        with ends_on_sigterm():
            while True:
                try:
                    answer = method(*arguments)
                    self._patience.reset()
                    return answer
                except grpc.RpcError as error:
                    if error.code() not in AWAY:
                        raise _explained(error, "the chief") from error
                self._patience.check(f"{worker_of(self.worker)} waits for the chief of the search, which is away")
                time.sleep(SECONDS_BETWEEN_REQUESTS)


def connect(
    host: str,
    port: int,
    directory: Path | str,
    worker: str,
    objective: Objective,
    notify: Callable[[str], Any] | None = None,
) -> Connection:
    """Waits for the chief of a search.

    Args:
        host: the address of the chief.
        port: the port of the chief.
        directory: directory of the search, which may have its secret.
        worker: see `Connection`.
        objective: what the search minimizes.
        notify: see `Connection`.

    Raises:
        ConnectionError: the chief refuses the secret of this worker.
        TimeoutError: there is no chief.
        ValueError: the secret in the environment cannot be one.
    """
    patience, secret, refusals = Patience(notify), "", 0
    with ends_on_sigterm():
        while True:
            client = Client(host, port, secret, objective)
            try:
                client.get_space()
                return Connection(client, worker, notify)
            except grpc.RpcError as error:
                client.close()
                if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                    # Only now: the chief has its secret before it listens. A network file system that was asked for a
                    # file too early keeps saying that there is none.
                    secret, refusals = read_secret(directory) or "", refusals + 1
                    if refusals > MAX_REFUSALS:
                        raise _explained(error, f"{host:.80}:{port}", secret) from error
                elif error.code() not in AWAY:
                    raise _explained(error, f"{host:.80}:{port}") from error
            unresolved = resolution_error(host)
            patience.check(
                f"{worker_of(worker)} waits for the chief of the search at {host:.80}:{port} "
                f"({unresolved or 'it does not answer'})",
                unresolved=unresolved is not None,
            )
            time.sleep(SECONDS_BETWEEN_REQUESTS)


def _explained(error, chief, secret="it was right before"):
    """A `ConnectionError` of one line."""
    if error.code() != grpc.StatusCode.UNAUTHENTICATED:
        return ConnectionError(f"{chief} does not answer as the chief of a search: {error.details():.100}")
    reason = "has another one" if secret else "has none"
    return ConnectionError(
        f"{chief} asks for the secret of the search, and this worker {reason}; set {VARIABLE} to the same value for "
        "the chief and its workers, or give them a common directory."
    )
