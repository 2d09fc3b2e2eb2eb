"""Which workers are alive, and which worker a message about a trial comes from."""

import time
from collections.abc import Callable

# The time between two checks counts as at most this many seconds.
LONGEST_GAP = 5
SEPARATOR = "@"


def claim(trial_id: str, worker: str) -> str:
    """A trial's id together with the worker that holds it. Keras Tuner's messages have no other field for the worker.

    >>> from tfcharlm.tuning.fault_tolerance.leases import claim, parse_claim
    >>> claim("07", "worker1"), parse_claim("07@worker1"), parse_claim("07")
    ('07@worker1', ('07', 'worker1'), ('07', ''))
    """
    return f"{trial_id}{SEPARATOR}{worker}"


def parse_claim(text: str) -> tuple[str, str]:
    """`(trial_id, worker)` of a claim. The worker is empty if the text is only the id of a trial."""
    trial_id, _, worker = text.partition(SEPARATOR)
    return trial_id, worker


class Leases:
    """Leases on trials: a worker that is silent for `seconds` loses the trial that it holds.

    While the chief itself is blocked, by a computation or because its machine is suspended, it hears from no worker.
    The workers are not to blame, so a long gap between two checks counts as a few seconds only.

    Args:
        seconds: how long a worker may be silent. The default is six times the pause between two of its heartbeats.
        clock: a function that returns seconds and never goes back.

    Example:

    >>> from tfcharlm.tuning.fault_tolerance.leases import Leases
    >>> clock = iter([0, 1, 2, 3, 4, 5])
    >>> leases = Leases(seconds=3, clock=lambda: next(clock))
    >>> leases.renew("worker0")
    >>> [leases.expired() for _ in range(4)]
    [[], [], [], ['worker0']]
    """

    def __init__(self, seconds: float = 30, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self._clock = seconds, clock
        self._last_heard: dict[str, float] = {}
        self._last_checked, self._now = clock(), 0.0

    def renew(self, worker: str) -> None:
        self._last_heard[worker] = self._tick()

    def end(self, worker: str) -> None:
        self._last_heard.pop(worker, None)

    def expired(self) -> list[str]:
        """The workers whose lease has run out. They stay on the list until `end`."""
        now = self._tick()
        return [worker for worker, heard in self._last_heard.items() if now - heard > self.seconds]

    def _tick(self):
        checked = self._clock()
        self._now += min(checked - self._last_checked, LONGEST_GAP)
        self._last_checked = checked
        return self._now
