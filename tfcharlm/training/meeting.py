"""Workers meet before TensorFlow starts: while it waits for a worker, no Python code and no signal handler runs."""

import contextlib
import errno
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from tfcharlm.training.peers import Patience, ends_on_sigterm, parse_address

SECONDS_BETWEEN_SWEEPS, SECONDS_TO_CONNECT = 0.25, 2
PROBES_AT_A_TIME = 32

Address = tuple[str, int]


def meet(addresses: Sequence[str], own: int, notify: Callable[[str], object] | None = None) -> None:
    """Returns when every worker listens at its address, here or already in TensorFlow.

    Args:
        addresses: those of all workers, as host:port.
        own: the position of this worker's address.
        notify: see `Patience`.

    Raises:
        OSError: another process has the port of this worker.
        TimeoutError: a worker does not come.
    """
    others = [parse_address(address) for number, address in enumerate(addresses) if number != own]
    patience = Patience(notify)
    missing: dict[Address, OSError] = {}
    with listening(addresses[own]) as server, ends_on_sigterm():
        # A worker may have died while this one waited for another. So in the end, all must answer at the same time.
        while missing := _sweep(missing) or _sweep(others):
            _hang_up(server)
            (host, port), error = next(iter(missing.items()))
            more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
            patience.check(
                f"the worker at {host:.80}:{port}{more} of TF_CONFIG cannot be reached ({error.strerror or error})",
                unresolved=any(isinstance(error, socket.gaierror) for error in missing.values()),
            )
            time.sleep(SECONDS_BETWEEN_SWEEPS)


def _sweep(addresses: Iterable[Address]) -> dict[Address, OSError]:
    """Those of the addresses at which nobody answers, and why."""
    todo: queue.SimpleQueue[Address] = queue.SimpleQueue()
    missing: dict[Address, OSError] = {}

    def probe():
        with contextlib.suppress(queue.Empty):
            while True:
                address = todo.get_nowait()
                try:
                    socket.create_connection(address, SECONDS_TO_CONNECT).close()
                except OSError as error:
                    missing[address] = error
                except UnicodeError:
                    missing[address] = socket.gaierror(socket.EAI_NONAME, "not a valid name")

    for address in addresses:
        todo.put(address)
    # Threads, because resolving a name cannot be interrupted; daemons, because nothing waits for them at the end.
    probes = [threading.Thread(target=probe, daemon=True) for _ in range(min(todo.qsize(), PROBES_AT_A_TIME))]
    for thread in probes:
        thread.start()
    for thread in probes:
        thread.join()
    return missing


@contextlib.contextmanager
def with_default_signals() -> Iterator[None]:
    """In the block, Ctrl-C and SIGTERM end the process at once, also while native code blocks."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    replaced = [number for number in numbers if before[number] is not signal.SIG_IGN]
    if threading.current_thread() is not threading.main_thread() or None in before.values():
        replaced = []
    try:
        for number in replaced:
            signal.signal(number, signal.SIG_DFL)
        yield
    finally:
        for number in replaced:
            signal.signal(number, before[number])


@contextlib.contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    """Listens at this worker's port, on all of the machine's addresses as TensorFlow does, until the block ends."""
    host, port = parse_address(address)
    try:
        server = _server(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise OSError(
                f"the port of this worker, {address:.80}, is taken: another process uses it. Does this worker run "
                "already, or do two workers have the same index in TF_CONFIG?"
            ) from error
        raise OSError(f"this worker cannot listen at port {port} of TF_CONFIG: {error.strerror}.") from error
    with server:
        server.setblocking(False)
        yield server


def _server(host, port):
    """A socket for IPv4 and IPv6, or for that of the address if the machine has no socket for both."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, backlog=1024, dualstack_ipv6=True)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise
    return socket.create_server(("", port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024)


def _hang_up(server):
    """Ends all connections. A worker that has connected knows all that it wanted to know."""
    with contextlib.suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
