"""Models for the command line, and signals as in a terminal."""

import signal

import numpy as np
import pytest
from helpers.command_line import BARN

import tfcharlm


@pytest.fixture(autouse=True)
def _interruptible():
    """As in a terminal, also where tests run in the background of a shell, which ignores Ctrl-C there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def barn(tmp_path):
    """The text `barn.txt`, in the directory in which `command` runs."""
    path = tmp_path / "barn.txt"
    path.write_text(BARN)
    return path


@pytest.fixture(scope="session")
def model():
    """A model of the text that has learned nothing."""
    model = tfcharlm.CharLM(
        tfcharlm.text.Vocabulary.from_text(BARN, spell=False), [tfcharlm.LSTMCell(16)], embedding_dim=8
    )
    rng = np.random.default_rng(5)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
    return model


@pytest.fixture(scope="session")
def exported(model, tmp_path_factory):
    """The directory `saved_models/barn/1` of the model."""
    return model.export(tmp_path_factory.mktemp("exported") / "saved_models" / "barn" / "1")


@pytest.fixture
def without_samples(monkeypatch):
    """Training without samples in between, whose graph takes seconds to make."""
    monkeypatch.setattr("tfcharlm.commands.train.EVALUATIONS_PER_SAMPLE", 10**9)


@pytest.fixture
def light_exports(monkeypatch, without_samples):
    """Exports that are the weights and the records alone; how they are loaded again."""

    def export(model, directory, records, card=None):
        (directory / "assets.extra").mkdir(parents=True)
        np.savez(directory / "weights.npz", *model.get_weights())
        for name, content in records.items():
            (directory / "assets.extra" / name).write_bytes(content)
        return directory

    monkeypatch.setattr("tfcharlm.commands.train.export_saved_model", export)
    monkeypatch.setattr("tfcharlm.commands.tune.export_saved_model", export)
    return lambda directory: list(np.load(directory / "weights.npz").values())
