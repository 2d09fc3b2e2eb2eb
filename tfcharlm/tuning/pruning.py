"""Pruning: when to end a trial that is behind the others at the same point of its budget."""

from collections.abc import Sequence

import numpy as np

# A median of fewer curves says little. And in the first third of its budget, a trial's loss says little more than how
# high its learning rate is.
CURVES, FRACTION = 5, 1 / 3


def is_behind(losses: Sequence[float], curves: Sequence[Sequence[float]], num_evaluations: int) -> bool:
    """Whether a trial is worse than the median of the others at the same evaluation: the median stopping rule.

    It compares the best losses so far. Vizier compares the means so far, which a bad start spoils. The answer is False
    in the first third of the budget, and while fewer than five other trials have come this far.

    Args:
        losses: the losses of this trial, one for each evaluation so far.
        curves: the same for each of the other trials. They may have ended early, too.
        num_evaluations: number of evaluations in a whole trial.

    Returns:
        True if the trial should end.

    Example:

    >>> from tfcharlm.tuning.pruning import is_behind
    >>> others = [[3.0, 2.5], [3.0, 2.4], [3.1, 2.3], [3.3, 2.2], [3.2, 2.1]]
    >>> is_behind([2.0, 2.0], others, num_evaluations=2), is_behind([3.0, 2.4], others, num_evaluations=2)
    (False, True)

    Reference: Golovin et al. (2017), Google Vizier: a service for black-box optimization, section 3.3.
    """
    count = len(losses)
    others = [min(curve[:count]) for curve in curves if len(curve) >= count > 0]
    if count < FRACTION * num_evaluations or len(others) < CURVES:
        return False
    return bool(min(losses) > np.median(others))
