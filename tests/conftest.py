"""Fixtures of all tests: random numbers whose seed is printed, and the command line."""

import os
import sys
import zlib

import pytest

# Assertions in ordinary modules show their values only if pytest rewrites them.
pytest.register_assert_rewrite("helpers")


@pytest.fixture
def rng(request):
    """A generator seeded by the test's name and by TFCHARLM_TEST_SEED; pytest shows the print of a failing test."""
    # Not above: a process that only hands out the tests to others needs no TensorFlow.
    import keras
    import numpy as np

    seed = zlib.crc32(f"{request.node.nodeid} {os.environ.get('TFCHARLM_TEST_SEED', 0)}".encode())
    print(f"seed of {request.node.nodeid}: {seed}")
    keras.utils.set_random_seed(seed)
    return np.random.default_rng(seed)


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Runs `tfcharlm ...` in a new directory: (exit status, standard output, standard error)."""
    from tfcharlm import cli

    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["tfcharlm", *map(str, arguments)])
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code or 0
        return (status, *capsys.readouterr())

    return run


@pytest.fixture
def short_turns_and_two_shards(monkeypatch):
    """Loops of fused kernels with two steps in a turn, for smaller graphs; compiled, rows in two shards."""
    import tensorflow as tf

    from tfcharlm.kernels import fused_kernel, shards

    monkeypatch.setattr(fused_kernel, "STEPS_PER_TURN", 2)
    monkeypatch.setattr(shards, "shard_count", lambda rows: 1 if tf.executing_eagerly() else 2)


@pytest.fixture
def small_graphs(monkeypatch):
    """The smallest graphs of fused kernels, for tests of what is around them: a step in a turn, a shard in a batch."""
    from tfcharlm.kernels import fused_kernel, shards

    monkeypatch.setattr(fused_kernel, "STEPS_PER_TURN", 1)
    monkeypatch.setattr(shards, "shard_count", lambda rows: 1)


@pytest.fixture(scope="session")
def letters_model():
    """A model that generates text of eleven characters. No test leaves its weights changed."""
    from helpers.letters import make_letters_model

    return make_letters_model()


@pytest.fixture(scope="session")
def letters_directory(letters_model, tmp_path_factory):
    """An export of that model."""
    return letters_model.export(tmp_path_factory.mktemp("saved_models") / "letters" / "1")
