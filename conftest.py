"""What tests and doctests share: names, and a random generator whose seed is printed."""

import os
import sys
import tempfile
import zlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

import tfcharlm
from tfcharlm import text


@pytest.fixture
def rng(request):
    """A generator seeded by the test's name and by TFCHARLM_TEST_SEED; pytest shows the print of a failing test."""
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


@pytest.fixture(autouse=True)
def _names_for_doctests(doctest_namespace):
    from tfcharlm.model.dropout import SequenceDropout
    from tfcharlm.artefact.export import next_version
    from tfcharlm.training.config import Corpus, TrainingConfig, log_frequencies
    from tfcharlm.training.sizing import suited
    from tfcharlm.training.run import TrainingRun
    from tfcharlm.tuning.pruning import is_behind

    public = {name: getattr(tfcharlm, name) for name in tfcharlm.__all__}
    modules = {
        "keras": keras,
        "keras_tuner": keras_tuner,
        "np": np,
        "os": os,
        "tempfile": tempfile,
        "tf": tf,
        "tfcharlm": tfcharlm,
    }
    texts = {name: getattr(text, name) for name in text.__all__}
    classes = (Corpus, SequenceDropout, TrainingConfig, TrainingRun)
    functions = (*classes, next_version, log_frequencies, is_behind, suited)
    doctest_namespace.update(public | modules | texts | {function.__name__: function for function in functions})
