"""Models that generate text, whose compiled loops all tests of this folder share."""

import pytest
import tensorflow as tf
from helpers.letters import make_few_letters_model


@pytest.fixture
def model(letters_model):
    return letters_model


@pytest.fixture
def directory(letters_directory):
    return letters_directory


@pytest.fixture(scope="session")
def signatures(letters_directory):
    return tf.saved_model.load(str(letters_directory)).signatures


@pytest.fixture(scope="session")
def few_letters():
    return make_few_letters_model()
