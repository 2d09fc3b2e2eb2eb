"""Trials that are behind the others end early."""

import keras_tuner
import pytest
from helpers.barnyard import TEXT
from helpers.trials import SMALL

from tfcharlm.tuning import CharLMHyperModel
from tfcharlm.tuning.pruning import is_behind


def test_pruning_is_the_median_rule(rng):
    """Against the rule spelled out, on random curves of random lengths."""
    for _ in range(200):
        reports = int(rng.integers(2, 9))
        curves = [list(rng.normal(size=rng.integers(1, reports + 1))) for _ in range(rng.integers(0, 12))]
        losses = list(rng.normal(size=rng.integers(1, reports + 1)))
        came_as_far = sorted(min(curve[: len(losses)]) for curve in curves if len(curve) >= len(losses))
        expected = False
        if len(came_as_far) >= 5 and 3 * len(losses) >= reports:
            better = sum(loss < min(losses) for loss in came_as_far)
            expected = better > len(came_as_far) / 2 or (
                len(came_as_far) % 2 == 0
                and better == len(came_as_far) // 2
                and min(losses) > (came_as_far[better - 1] + came_as_far[better]) / 2
            )
        assert is_behind(losses, curves, reports) == expected


@pytest.mark.slow
def test_a_trial_behind_the_others_ends_early():
    hypermodel = CharLMHyperModel(TEXT, steps=12, num_evaluations=4, **SMALL | {"units": 4})
    hp = keras_tuner.HyperParameters()
    hypermodel.curves = [[0.5, 0.4, 0.3, 0.2]] * 5
    history = hypermodel.fit(hp, hypermodel.build(hp)).history
    assert history["step"] == [3, 6] and len(hypermodel.curves) == 6
    hypermodel.prune = False
    assert hypermodel.fit(hp, hypermodel.build(hp)).history["step"] == [3, 6, 9, 12]
