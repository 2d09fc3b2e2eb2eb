"""How a trial ended: the status that its worker sent, checked against the result."""

import errno
import math
import os
from typing import Any

from keras_tuner.engine.trial import TrialStatus

# The status of a trial whose loss is not finite. For Keras Tuner it failed, but nothing is broken.
DIVERGED = "DIVERGED"
DISK_FULL = "the disk is full, or a file reached its limit; make room and resume the search. No finished trial is lost."
# No space, no quota, a limit on the size of a file. Native code puts the system's words into errors of its own.
FULL = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def trial_outcome(status: str, message: str | None, metrics: Any, objective: str) -> tuple[str, str | None]:
    """Decides how a trial ended.

    Args:
        status: the status that its worker sent.
        message: the message of the error; None if there was none.
        metrics: Keras Tuner's record of the results.
        objective: name of the metric to minimize.

    Returns:
        `(status, message)`. The status is COMPLETED, INVALID, FAILED or DIVERGED, and the message says why; it is None
        for a completed trial.
    """
    if status != TrialStatus.COMPLETED:
        return status, message
    if not metrics.exists(objective):
        return TrialStatus.INVALID, f"the result has no {objective}"
    value = metrics.get_best_value(objective)
    return (status, None) if math.isfinite(value) else (DIVERGED, f"{objective} is {value}")


def disk_is_full(message: str | None) -> bool:
    """Whether an error says that nothing more can be written.

    >>> from tfcharlm.tuning.fault_tolerance.outcomes import disk_is_full
    >>> disk_is_full("OSError: [Errno 28] No space left on device: 'best.weights.h5'"), disk_is_full("no such corpus")
    (True, False)
    """
    return any(words in (message or "") for words in FULL)


def last_line(message: str | None) -> str:
    """The last line of a traceback, which names the error.

    >>> from tfcharlm.tuning.fault_tolerance.outcomes import last_line
    >>> last_line("Traceback:\\n  ...\\nValueError: no such corpus\\n")
    'ValueError: no such corpus'
    """
    lines = (message or "").strip().splitlines()
    return lines[-1].strip() if lines else "no error message"
