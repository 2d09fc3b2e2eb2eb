"""Waiting for other processes: it says what is missing, it can be interrupted at any time, and it ends."""

import contextlib
import ipaddress
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

from tfcharlm.checks import POSITIVE

LOGGER = logging.getLogger(__name__)
PEER_SECONDS = "TFCHARLM_PEER_SECONDS"
# As long as Keras Tuner waits for a chief. The processes of a job may wait in a queue for different times.
DEFAULT_SECONDS = 3600.0
SECONDS_BEFORE_NOTICE = 10
# In a cluster, the name of a machine may appear when the machine starts. A wrong name never appears.
SECONDS_FOR_A_NAME = 30


class MissingWorkerError(TimeoutError):
    """Another process did not come in the time that it had."""


class Patience:
    """How long a process waits for others: it says so after 10 s, and gives up after `TFCHARLM_PEER_SECONDS`.

    The environment variable is in seconds; without it, the limit is an hour, and 30 s for the name of a machine that
    cannot be resolved.

    Args:
        notify: called with the line that says what is missing; None (default) logs it as a warning.
        clock: a function that returns seconds and never goes back.

    Raises:
        ValueError: the environment variable is not a number above 0.

    Example:

    >>> from tfcharlm.training import Patience
    >>> clock = iter([0, 11, 12, 3601])
    >>> patience = Patience(notify=print, clock=lambda: next(clock))
    >>> patience.check("worker 1 does not answer")
    >>> patience.check("worker 1 does not answer")
    Still waiting, for up to 3600 s: worker 1 does not answer.
    >>> patience.check("worker 1 does not answer")
    >>> patience.check("worker 1 does not answer")
    Traceback (most recent call last):
    tfcharlm...MissingWorkerError: worker 1 does not answer; gave up after 3600 s. Start it, or set ... to wait longer.
    """

    def __init__(
        self, notify: Callable[[str], object] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        given = os.environ.get(PEER_SECONDS)
        self.seconds = DEFAULT_SECONDS if given is None else _seconds(given)
        self.seconds_for_a_name = SECONDS_FOR_A_NAME if given is None else self.seconds
        self._notify, self._clock = notify or LOGGER.warning, clock
        self.reset()

    def reset(self) -> None:
        """Starts from zero, because what was missing has come."""
        self._since: float | None = None
        self._unresolved_since: float | None = None
        self._noticed = False

    def check(self, missing: str, unresolved: bool = False) -> None:
        """Call it again and again while something is missing.

        Args:
            missing: what is missing, as a sentence without a full stop.
            unresolved: whether the reason is the name of a machine that cannot be resolved.

        Raises:
            TimeoutError: the time is up.
        """
        now = self._clock()
        self._since = now if self._since is None else self._since
        if not unresolved:
            self._unresolved_since = None
        elif self._unresolved_since is None:
            self._unresolved_since = now
        limit = self.seconds
        if self._unresolved_since is not None and now - self._unresolved_since >= self.seconds_for_a_name:
            limit = self.seconds_for_a_name
        if now - self._since >= limit:
            advice = "Correct the name" if unresolved else "Start it"
            more = f"{advice}, or set {PEER_SECONDS} to wait longer."
            raise MissingWorkerError(f"{missing}; gave up after {limit:g} s. {more}")
        if now - self._since >= SECONDS_BEFORE_NOTICE and not self._noticed:
            self._noticed = True
            limit = self.seconds_for_a_name if unresolved else self.seconds
            self._notify(f"Still waiting, for up to {limit:g} s: {missing}.")


def parse_address(text: str) -> tuple[str, int]:
    """The host and the port of an address such as `host0:2222` or `[::1]:2222`.

    Raises:
        ValueError: the text is not an address.

    Example:

    >>> from tfcharlm.training import parse_address
    >>> parse_address("[::1]:2222")
    ('::1', 2222)
    >>> parse_address("host0:70000")
    Traceback (most recent call last):
    ValueError: an address must be host:port with a port from 1 to 65535, such as host0:2222; received 'host0:70000'.
    """
    parts = re.fullmatch(r"(?:\[(.+)\]|([^\s:/@\[\]]+)):([0-9]{1,5})", text, re.ASCII)
    if parts is None or not 1 <= int(parts[3]) <= 65535 or (parts[1] and not _is_ipv6(parts[1])):
        raise ValueError(
            f"an address must be host:port with a port from 1 to 65535, such as host0:2222; received {text!r:.80}."
        )
    return parts[1] or parts[2], int(parts[3])


def resolution_error(host: str) -> str | None:
    """Why the name of a machine cannot be resolved; None if it can."""
    try:
        socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return getattr(error, "strerror", None) or "it is not a valid name"
    return None


@contextlib.contextmanager
def ends_on_sigterm() -> Iterator[None]:
    """In the block, SIGTERM raises `SystemExit` after one line, so that what the block has started is cleaned up.

    Outside of the main thread, and where a program handles the signal itself, this does nothing.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def end(number, frame):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        LOGGER.warning("tfcharlm: terminated.")
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _is_ipv6(text):
    try:
        return bool(ipaddress.IPv6Address(text))
    except ValueError:
        return False


def _seconds(text):
    try:
        value: object = float(text)
    except ValueError:
        value = text
    return POSITIVE.check(PEER_SECONDS, value)
