"""Which workers are alive and get on with their trials, and which worker a message about a trial comes from."""

import dataclasses
import secrets
import time
from collections.abc import Callable

# The time between two checks counts as at most this many seconds.
LONGEST_GAP = 5
SEPARATOR, PROCESS = "@", "#"
DEFAULT_STALL_SECONDS = 600.0
# Before the first step, a trial builds and compiles its model. And `fit` of a hypermodel may not call its callbacks.
STALLS_BEFORE_FIRST_STEP = 6


def claim(trial_id: str, worker: str) -> str:
    """A trial's id together with the worker that holds it. Keras Tuner's methods have no other argument for the worker.

    >>> from tfcharlm.tuning.fault_tolerance.leases import claim, parse_claim
    >>> claim("07", "worker1"), parse_claim("07@worker1"), parse_claim("07")
    ('07@worker1', ('07', 'worker1'), ('07', ''))
    """
    return f"{trial_id}{SEPARATOR}{worker}"


def parse_claim(text: str) -> tuple[str, str]:
    """`(trial_id, worker)` of a claim. The worker is empty if the text is only the id of a trial."""
    trial_id, _, worker = text.partition(SEPARATOR)
    return trial_id, worker


def process_of(worker: str) -> str:
    """A worker's id with a random number: two processes of one worker are told apart, such as one started again."""
    return f"{worker}{PROCESS}{secrets.token_hex(8)}"


def worker_of(process: str) -> str:
    """The worker's id that was given to `process_of`.

    >>> from tfcharlm.tuning.fault_tolerance.leases import process_of, worker_of
    >>> worker_of(process_of("worker0")), worker_of("worker0")
    ('worker0', 'worker0')
    """
    return process.partition(PROCESS)[0]


class SteadyClock:
    """Seconds during which this process ran: a long gap between two readings counts as a few seconds.

    A process that was suspended, or blocked by a computation, has heard from nobody. The others are not to blame.

    Args:
        clock: a function that returns seconds and never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._last, self._now = clock, clock(), 0.0

    def __call__(self) -> float:
        read = self._clock()
        self._now += min(read - self._last, LONGEST_GAP)
        self._last = read
        return self._now


@dataclasses.dataclass
class Lease:
    """When a worker was heard and when its trial got on, in seconds, and after how many steps of the trial."""

    heard: float
    progressed: float | None = None
    steps: int = 0


class Leases:
    """Leases on trials: a worker loses the trial that it holds when it is silent, or when the trial makes no progress.

    A heartbeat says that a process is alive. It also has the number of steps of the trial, which only the training loop
    counts: a process can live while its training hangs.

    Args:
        seconds: how long a worker may be silent. The default is six times the pause between two of its heartbeats.
        stall_seconds: how long a trial may be without a step: a batch, an evaluation or an epoch. Before the first
            step, it is six times as long. The default is ten minutes.
        clock: a function that returns seconds and never goes back.

    Example:

    >>> from tfcharlm.tuning.fault_tolerance.leases import Leases
    >>> clock = iter([0, 1, 2, 3, 4, 5])
    >>> leases = Leases(seconds=3, clock=lambda: next(clock))
    >>> leases.renew("worker0")
    >>> [leases.expired() for _ in range(4)]
    [{}, {}, {}, {'worker0': 'was silent for 3 s'}]
    """

    def __init__(
        self,
        seconds: float = 30,
        stall_seconds: float = DEFAULT_STALL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds, self.stall_seconds = seconds, stall_seconds
        self._leases: dict[str, Lease] = {}
        self._clock = SteadyClock(clock)

    def renew(self, worker: str, steps: int | None = None) -> None:
        """A worker was heard, perhaps with the number of steps that its trial has made."""
        now = self._clock()
        lease = self._leases.setdefault(worker, Lease(now))
        lease.heard = now
        if steps is not None and steps != lease.steps:
            lease.progressed, lease.steps = now, steps

    def begin(self, worker: str) -> None:
        """A worker was given a trial."""
        now = self._clock()
        self._leases[worker] = Lease(now, now)

    def finish(self, worker: str) -> None:
        """A worker has no trial any more, but is still heard."""
        if worker in self._leases:
            self._leases[worker].progressed = None

    def end(self, worker: str) -> None:
        self._leases.pop(worker, None)

    def expired(self) -> dict[str, str]:
        """The workers whose lease has run out, and why. They stay in it until `end`."""
        now = self._clock()
        reasons = {worker: self._reason(lease, now) for worker, lease in self._leases.items()}
        return {worker: reason for worker, reason in reasons.items() if reason}

    def _reason(self, lease, now):
        if now - lease.heard > self.seconds:
            return f"was silent for {self.seconds:g} s"
        stall = self.stall_seconds * (1 if lease.steps else STALLS_BEFORE_FIRST_STEP)
        if lease.progressed is not None and now - lease.progressed > stall:
            return f"made no step for {stall:g} s"
        return ""
