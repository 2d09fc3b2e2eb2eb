"""Who is alive, and who speaks for a trial."""

import time

# Time that passes between two looks counts up to this many seconds.
LONGEST_GAP = 5
BETWEEN = "@"


def claim(trial_id, worker):
    """A trial's id and the worker that says something about it: Keras Tuner's messages have no other place for it.

    >>> claim("07", "worker1"), parse_claim("07@worker1"), parse_claim("07")
    ('07@worker1', ('07', 'worker1'), ('07', ''))
    """
    return f"{trial_id}{BETWEEN}{worker}"


def parse_claim(text):
    """`(trial_id, worker)`; the worker is empty if there is none."""
    trial_id, _, worker = text.partition(BETWEEN)
    return trial_id, worker


class Leases:
    """A worker that is not heard of for `seconds` has lost what it holds.

    While the chief itself stands still, in a computation or with its machine, it hears nobody, and nobody is to blame:
    only time in which it looks now and then is counted.

    Args:
        seconds: how long a worker may be silent. Six times the pause between two of its signs of life.
        clock: seconds that never go back.

    Example:

    >>> clock = iter([0, 1, 2, 3, 4, 5])
    >>> leases = Leases(seconds=3, clock=lambda: next(clock))
    >>> leases.renew("worker0")
    >>> [leases.expired() for _ in range(4)]
    [[], [], [], ['worker0']]
    """

    def __init__(self, seconds=30, clock=time.monotonic):
        self.seconds, self._clock = seconds, clock
        self._heard, self._looked, self._now = {}, clock(), 0.0

    def renew(self, worker):
        self._heard[worker] = self._tick()

    def end(self, worker):
        self._heard.pop(worker, None)

    def expired(self):
        """The workers whose lease has run out; they stay on the list until `end`."""
        now = self._tick()
        return [worker for worker, heard in self._heard.items() if now - heard > self.seconds]

    def _tick(self):
        looked = self._clock()
        self._now += min(looked - self._looked, LONGEST_GAP)
        self._looked = looked
        return self._now
