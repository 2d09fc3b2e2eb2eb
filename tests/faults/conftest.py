"""The command line, as far as it reads a text."""

import numpy as np
import pytest

from tfcharlm.text import split_corpus


class StopError(ValueError):
    """As far as a test needs it."""


@pytest.fixture
def reads(command, monkeypatch):
    """Runs `tfcharlm train` or `tune` until the text is read: (text or None, the line of the error)."""
    read = []

    def split_and_stop(*arguments, **named):
        split = split_corpus(*arguments, **named)
        read.append(split.vocabulary.decode(np.concatenate([split.train_ids, split.validation_ids])))
        raise StopError("read")

    monkeypatch.setattr("tfcharlm.commands.corpus.split_corpus", split_and_stop)

    def run(program, *arguments):
        read.clear()
        status, output, error = command(program, "--steps", 1, "--name", "model", *arguments)
        assert (status, output, error.count("\n")) == (2, "", 1)
        assert error.startswith("tfcharlm: ") and "Traceback" not in error
        return (read[0] if read else None), error

    return run
