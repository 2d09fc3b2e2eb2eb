"""A small model and its server, which all tests of this folder share."""

import pytest
from helpers.serving import make_client, make_served_model


@pytest.fixture(scope="session")
def served_model():
    return make_served_model()


@pytest.fixture(scope="session")
def client(served_model):
    with make_client(served_model) as client:
        yield client
