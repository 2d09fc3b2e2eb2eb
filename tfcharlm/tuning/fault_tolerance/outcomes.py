"""How a trial ended: what its worker says, and what its result says."""

import math

from keras_tuner.engine.trial import TrialStatus

# A trial whose loss is no number: for Keras Tuner it failed, but nothing is broken.
DIVERGED = "DIVERGED"


def trial_outcome(status, message, metrics, objective):
    """Judges a trial.

    Args:
        status: what its worker says.
        message: of the error, if there was one.
        metrics: Keras Tuner's record of what was reported.
        objective: name of the metric to minimize.

    Returns:
        `(status, message)`: COMPLETED; INVALID or FAILED, and why; or DIVERGED.
    """
    if status != TrialStatus.COMPLETED:
        return status, message
    if not metrics.exists(objective):
        return TrialStatus.INVALID, f"it reported no {objective}"
    value = metrics.get_best_value(objective)
    return (status, None) if math.isfinite(value) else (DIVERGED, f"{objective} is {value}")


def last_line(message):
    """What a traceback says in the end.

    >>> last_line("Traceback:\\n  ...\\nValueError: no such corpus\\n")
    'ValueError: no such corpus'
    """
    lines = (message or "").strip().splitlines()
    return lines[-1].strip() if lines else "nothing was said"
