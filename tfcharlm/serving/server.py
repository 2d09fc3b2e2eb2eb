"""The server: uvicorn with an application, from the first line on the screen to the end after SIGTERM."""

import contextlib
import gc
import logging
import socket
import sys
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from tfcharlm.serving.access import LOOPBACK
from tfcharlm.serving.limits import TimedProtocol

# Seconds that texts may take to end after SIGTERM.
GRACE = 20
# Seconds after which a thread lets the other one run Python. Between two blocks of text, the thread that writes would
# wait for the usual 5 ms more than once.
SWITCH_INTERVAL = 0.0005
# Connections at the same time; each needs some memory.
MAX_CONNECTIONS = 1000


def check_address(host: str, api_key: str | None) -> None:
    """Checks that only this machine can reach a server without a key.

    Args:
        host: the address to listen on.
        api_key: the key, or None.

    Raises:
        ValueError: other machines can reach the address, and no key is given. Or the key is too short.

    Example:

    >>> from tfcharlm.serving import check_address
    >>> check_address("127.0.0.1", None)
    """
    if api_key is None and host not in LOOPBACK:
        raise ValueError(
            f"--host {host} lets other machines in, which needs a key; give --api-key KEY, or set TFCHARLM_API_KEY."
        )
    if api_key is not None and (len(api_key) < 8 or not api_key.isascii() or not api_key.isprintable()):
        raise ValueError("the API key must have 8 or more printable ASCII characters.")


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens; a port that is taken is found before the models are compiled.

    Raises:
        ValueError: the address cannot be used.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with contextlib.ExitStack() as on_error:
            listening = on_error.enter_context(socket.socket(family))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(2048)
            on_error.pop_all()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ValueError(f"--host {host} --port {port} cannot be used: {reason}; give another port.") from error
    return listening


def run(app: FastAPI, listening: socket.socket, on_start: Callable[[], object] = lambda: None) -> None:
    """Serves until SIGTERM or SIGINT. Texts that are being written may then take 20 seconds to end.

    Meanwhile Python's threads take turns more often, and garbage is looked for only in what came after the start.

    Args:
        app: the application.
        listening: a listening socket.
        on_start: called when the server answers.
    """

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                # What exists now stays. To look through all of it for garbage would stop every text for 0.4 seconds.
                gc.collect()
                gc.freeze()
                sys.setswitchinterval(SWITCH_INTERVAL)
                on_start()

    config = uvicorn.Config(
        app,
        http=TimedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=GRACE,
        timeout_keep_alive=30,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    interval = sys.getswitchinterval()
    try:
        Server(config).run(sockets=[listening])
    finally:
        sys.setswitchinterval(interval)
        gc.unfreeze()
