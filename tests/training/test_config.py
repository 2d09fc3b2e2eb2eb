"""Configurations: their defaults, their bounds, and what they refuse."""

import dataclasses

import numpy as np
import pytest

from tfcharlm.checks import Bounds
from tfcharlm.training import BUDGETS, OPTIONS, TUNABLE, TrainingConfig


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (
            {"minutes": 1, "steps": 5},
            "exactly one of minutes, epochs and steps must be given, .* received minutes=1, steps=5",
        ),
        ({}, "such as minutes=2; received none of them"),
        ({"steps": 0}, "steps must be a whole number from 1 to below 2147483648; received 0"),
        ({"minutes": float("inf")}, "minutes must be a number above 0 and below 2147483648; received inf"),
        ({"steps": 5, "schedule": "sine"}, "schedule must be one of cosine, linear, constant; received 'sine'"),
        ({"steps": 5, "dropout": 1}, "dropout must be a number from 0 to below 1; received 1"),
        ({"steps": 5, "random_start": 1}, "random_start must be one of True, False; received 1"),
        (
            {"steps": 5, "cell": "rnn", "cap_input_gate": True},
            "cap_input_gate needs a cell with an input gate, such as lstm; received cell='rnn'",
        ),
        ({"steps": 5, "weight_drop": -0.5}, "weight_drop must be a number from 0 to below 1; received -0.5"),
    ],
)
def test_configurations_that_cannot_be(wrong, line):
    with pytest.raises(ValueError, match=line):
        TrainingConfig(**wrong)


NUMBERS = [name for name, field in OPTIONS.items() if isinstance(field.metadata["values"], Bounds)]


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_is_checked_by_its_bounds(name):
    """A number of NumPy becomes one of Python, which JSON can write; a number out of bounds is named."""
    budget = {} if name in BUDGETS else {"steps": 5}
    bounds = OPTIONS[name].metadata["values"]
    value = 3 if bounds.whole else 0.25
    made = getattr(TrainingConfig(**budget, **{name: np.array(value)[()]}), name)
    assert made == value and type(made) in (int, float)
    for wrong in (True, float("nan"), 10**400, "1", -1, *([2.5, 3.0] if bounds.whole else [])):
        with pytest.raises(ValueError, match=rf"^{name} must be {bounds}; received"):
            TrainingConfig(**budget, **{name: wrong})


def test_every_field_says_what_it_means_and_the_documentation_follows():
    for field in dataclasses.fields(TrainingConfig):
        assert field.metadata["help"] and not field.metadata["help"].endswith(".")
        assert f"{field.name}: {field.metadata['help']}.\n" in TrainingConfig.__doc__
    assert set(OPTIONS) - set(TUNABLE) == {*BUDGETS, "level", "validation_fraction", "seed"}


def test_what_a_search_tries_has_the_default_and_is_within_bounds():
    for name, field in OPTIONS.items():
        for value in field.metadata["search"] or []:
            TrainingConfig(steps=5, **{name: value})
        assert field.metadata["search"] is None or field.default in field.metadata["search"]
