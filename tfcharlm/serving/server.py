"""The server: uvicorn with an application, from the first line on the screen to the end after SIGTERM."""

import gc
import logging
import socket
import sys
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from tfcharlm.serving.limits import TimedProtocol

# Seconds that texts may take to end after SIGTERM.
GRACE = 20
# Seconds after which a thread lets the other one run Python. Between two blocks of text, the thread that writes would
# wait for the usual 5 ms more than once.
SWITCH_INTERVAL = 0.0005
# Connections at the same time; each needs some memory.
MAX_CONNECTIONS = 1000


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
