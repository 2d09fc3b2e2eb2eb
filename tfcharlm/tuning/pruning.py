"""Ending a trial early that is behind the others at the same point of its budget."""

import numpy as np

# Fewer curves have no median to speak of; and in the first third of its budget a trial shows its learning rate only.
CURVES, FRACTION = 5, 1 / 3


def is_behind(losses, curves, num_evaluations):
    """Whether a trial does worse than half of the others did when they had come as far: the median stopping rule.

    Compared is the best loss so far; Vizier takes the mean so far, which a bad beginning spoils. Nothing is said as
    long as fewer than five others have come as far, or in the first third of the budget.

    Args:
        losses: of this trial, one for each evaluation.
        curves: lists of the same of the others; they may have ended early, too.
        num_evaluations: how many a whole trial has.

    Example:

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
