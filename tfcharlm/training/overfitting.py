"""When more training makes a model worse: the rule by which a run ends early."""

from collections.abc import Sequence

# Measured on texts of 20 kB and 200 kB (docs/training-recipe.md). In runs that still improved, three losses in a row
# were never 1% above the lowest one. The falling learning rate is worth 4% on tinyshakespeare (docs/results.md), so a
# loss that is 5% too high, and rising, does not come back.
PATIENCE, RISE = 3, 0.05


def is_overfitting(losses: Sequence[float]) -> bool:
    """Whether the validation loss has risen so far, and for so long, that more training does not pay.

    The last three losses are each more than 5% above the lowest one. A run of two minutes or more has twelve
    evaluations, so its patience is a quarter of the budget. A single bad evaluation, or a rise that the falling
    learning rate undoes later, does not end it.

    Args:
        losses: the validation losses so far, one for each evaluation.

    Returns:
        True if the run should end.

    Example:

    >>> from tfcharlm.training import is_overfitting
    >>> is_overfitting([2.0, 2.2, 2.3]), is_overfitting([2.0, 2.2, 2.3, 2.4]), is_overfitting([2.0, 2.2, 2.3, 2.05])
    (False, True, False)

    Reference: Prechelt (1998), Early stopping - but when?, the criterion GL.
    """
    if len(losses) <= PATIENCE:
        return False
    return all(loss > (1 + RISE) * min(losses) for loss in losses[-PATIENCE:])
