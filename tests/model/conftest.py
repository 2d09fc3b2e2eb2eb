"""A small model and the reference's parameters with the same numbers."""

import pytest
from helpers.models import make_pair


@pytest.fixture
def pair(rng):
    return make_pair(rng)
