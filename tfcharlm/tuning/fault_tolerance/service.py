"""The chief's door: an oracle that other processes reach over gRPC, if they know the secret of the search.

Keras Tuner's own server and client are not used. They listen to anybody, share a port with whoever else has it, and go
through the proxy of the environment even to this machine.
"""

import errno
import hmac
import json
import os
import socket
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
from keras_tuner import HyperParameters, Objective
from keras_tuner.engine.trial import Trial

from tfcharlm.training import resolution_error

SERVICE, KEY = "tfcharlm.Search", "tfcharlm-secret"
SECONDS_FOR_AN_ANSWER = 60
# Two servers never share a port: half of the workers would speak to the other one.
SERVER_OPTIONS = [("grpc.so_reuseport", 0)]
CLIENT_OPTIONS = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 5000),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


class Server:
    """Serves an oracle from `start` to `stop`. Whoever does not send the secret is refused before anything is read.

    Args:
        oracle: a `FaultTolerantOracle`.
        host: the address to listen at, such as 127.0.0.1, which other machines cannot reach.
        port: the port; 0 takes one that is free.
        secret: the secret of the search.

    Attributes:
        port: the port at which it listens.

    Raises:
        OSError: the address is not one of this machine, or the port is taken.
    """

    def __init__(self, oracle: Any, host: str, port: int, secret: str) -> None:
        check_address(host, port)
        self._oracle = oracle
        self._server = grpc.server(
            futures.ThreadPoolExecutor(max_workers=4), interceptors=[_CheckSecret(secret)], options=SERVER_OPTIONS
        )
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                answer, request_deserializer=json.loads, response_serializer=_to_bytes
            )
            for name, answer in self._answers().items()
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        try:
            self.port = self._server.add_insecure_port(grpc_address(host, port))
        except RuntimeError:
            self.port = 0  # as older versions of gRPC say it
        if not self.port:
            raise OSError(f"the chief cannot listen at {host}:{port}.")

    def start(self) -> None:
        """Begins to answer."""
        self._server.start()

    def stop(self) -> None:
        """Stops listening at once."""
        self._server.stop(grace=None)

    def _answers(self) -> dict[str, Callable[[Any, Any], Any]]:
        oracle = self._oracle

        def end_trial(request, context):
            oracle.end_trial(Trial.from_state(request["trial"]))
            return {}  # gRPC takes None for an answer that cannot be read

        return {
            "get_space": lambda request, context: oracle.get_space().get_config(),
            "create_trial": lambda request, context: oracle.create_trial(request["worker"]).get_state(),
            "get_trial": lambda request, context: oracle.get_trial(request["trial"], request["steps"]).get_state(),
            "end_trial": end_trial,
        }


class Client:
    """A worker's view of the oracle that a `Server` serves. Its methods are those of the oracle, and may raise
    `grpc.RpcError`.

    Args:
        host: the address of the server.
        port: the port of the server.
        secret: the secret of the search.
        objective: what the search minimizes.
    """

    def __init__(self, host: str, port: int, secret: str, objective: Objective) -> None:
        self.objective = objective
        self._channel = grpc.insecure_channel(grpc_address(host, port), options=CLIENT_OPTIONS)
        self._metadata = ((KEY, secret),)

    def get_space(self) -> HyperParameters:
        return HyperParameters.from_config(self._ask("get_space"))

    def create_trial(self, tuner_id: str) -> Trial:
        return Trial.from_state(self._ask("create_trial", worker=tuner_id))

    def get_trial(self, trial_id: str, steps: int | None = None) -> Trial:
        return Trial.from_state(self._ask("get_trial", trial=trial_id, steps=steps))

    def end_trial(self, trial: Trial) -> None:
        self._ask("end_trial", trial=trial.get_state())

    def close(self) -> None:
        self._channel.close()

    def _ask(self, name, **request):
        call = self._channel.unary_unary(
            f"/{SERVICE}/{name}", request_serializer=_to_bytes, response_deserializer=json.loads
        )
        return call(request, timeout=SECONDS_FOR_AN_ANSWER, metadata=self._metadata)


class _CheckSecret(grpc.ServerInterceptor):
    """Refuses every call without the secret, whatever its method."""

    def __init__(self, secret):
        self._secret = secret.encode()
        self._refusal = grpc.unary_unary_rpc_method_handler(
            lambda request, context: context.abort(grpc.StatusCode.UNAUTHENTICATED, "the secret is missing or wrong")
        )

    def intercept_service(self, continuation, handler_call_details):
        sent = dict(handler_call_details.invocation_metadata).get(KEY, "")
        sent = sent.encode() if isinstance(sent, str) else sent
        # In constant time: how long a comparison takes must not tell how much of a guess is right.
        return continuation(handler_call_details) if hmac.compare_digest(sent, self._secret) else self._refusal


def check_address(host: str, port: int) -> None:
    """Raises an OSError that says why nobody can listen at an address. gRPC would only log that."""
    if reason := resolution_error(host):
        raise OSError(
            f"KERASTUNER_ORACLE_IP must be an address of the chief; {host:.80} cannot be resolved ({reason})."
        )
    family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as probe:
        if os.name != "nt":  # where the option means something else
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                advice = "is taken: another process uses it. Give a free port in KERASTUNER_ORACLE_PORT."
            elif error.errno == errno.EADDRNOTAVAIL:
                advice = "is not on this machine. Start the chief on that machine, or correct KERASTUNER_ORACLE_IP."
            else:
                advice = f"cannot be listened at: {error.strerror}."
            raise OSError(f"the address of the chief, {host:.80}:{port}, {advice}") from error


def grpc_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _to_bytes(value: Any) -> bytes:
    # Hyperparameters and metrics may be numbers of NumPy.
    return json.dumps(value, default=lambda number: number.item()).encode()
