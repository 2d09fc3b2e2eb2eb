"""A search in one process: its files, its resumption, and its ends."""

import sys

import keras
import numpy as np
import pytest
from helpers.barnyard import TEXT
from helpers.fake_searches import Fake, fits
from helpers.processes import run_python

from tfcharlm.tuning import search
from tfcharlm.tuning.fault_tolerance.tuner import as_history


@pytest.mark.parametrize("result", [None, {}, {"loss": 1.0}, keras.callbacks.History()])
def test_a_fit_without_a_loss_is_named(result):
    with pytest.raises(ValueError, match="fit must return a History or a dictionary with val_loss"):
        as_history(result)


def test_a_search_in_one_process(tmp_path):
    """Its files, its resumption, and Keras Tuner's copies of the state, which do not matter."""
    directory, ends = tmp_path / "search", []
    search(Fake(tmp_path), "random", directory, trials=3, on_trial=lambda trial: ends.append(trial.trial_id))
    with pytest.raises(ValueError, match="has a search; give resume=True"):
        search(Fake(tmp_path), "random", directory, trials=5)
    (directory / "tuner0.json").write_text("{")
    (directory / "trial_0" / "trial.json").write_text('{"trial')
    (directory / "trial_1" / "trial.json").unlink()
    hypermodel = Fake(tmp_path)
    tuner = search(
        hypermodel, "random", directory, trials=5, resume=True, on_trial=lambda trial: ends.append(trial.trial_id)
    )
    assert ends == ["0", "1", "2", "0", "1", "2", "3", "4"], "those before the interruption are told again"
    assert tuner.oracle.end_order == ["0", "1", "2", "3", "4"]
    assert len(fits(tmp_path, "begin")) == 5 and len(hypermodel.curves) == 4
    best = tuner.oracle.get_best_trials()[0]
    assert best.score == min(trial.hyperparameters["x"] for trial in tuner.oracle.trials.values()) + 0.5
    assert best.best_step == 0
    np.testing.assert_array_equal(tuner.load_model(best).layers[-1].bias, [1.0])
    lines = (directory / f"trial_{best.trial_id}" / "learning_curve.csv").read_text().splitlines()
    assert sorted(lines[0].split(",")) == ["epoch", "loss", "val_loss"] and len(lines) == 3
    assert len(list((directory / "tensorboard" / best.trial_id).iterdir())) == 1


@pytest.mark.slow
def test_hyperband_continues_with_weights(tmp_path):
    class Checks(Fake):
        def fit(self, hp, model, epochs, initial_epoch, callbacks):
            # The best of the earlier trial was its first and only epoch.
            assert float(model.layers[-1].bias[0]) == (0 if initial_epoch == 0 else 1)
            return super().fit(hp, model, callbacks, epochs, initial_epoch)

    tuner = search(Checks(tmp_path), "hyperband", tmp_path / "search", trials=12, max_epochs=3)
    assert tuner.oracle.stopped_because is None
    assert {trial.status for trial in tuner.oracle.trials.values()} == {"COMPLETED"}
    assert any("tuner/trial_id" in trial.hyperparameters.values for trial in tuner.oracle.trials.values())


@pytest.mark.slow
def test_three_exceptions_in_a_row_end_a_search(tmp_path):
    class Fails(Fake):
        def fit(self, hp, model, callbacks):
            raise OSError("the corpus is gone")

    tuner = search(Fails(tmp_path), "random", tmp_path / "search", trials=9, on_message=[].append)
    assert tuner.oracle.stopped_because.endswith("OSError: the corpus is gone")
    assert len(tuner.oracle.end_order) == 3
    assert "Traceback" in tuner.oracle.trials["0"].message


def test_a_directory_has_one_search_at_a_time(tmp_path):
    class Second(Fake):
        def fit(self, hp, model, callbacks):
            with pytest.raises(ValueError, match="a search is running in"):
                search(Fake(tmp_path), "random", tmp_path / "search", trials=1, resume=True)
            return 1.0

    assert search(Second(tmp_path), "random", tmp_path / "search", trials=1).oracle.stopped_because is None


MEMORY = """
import resource, sys
from tfcharlm.tuning import CharLMHyperModel, search
def resident(trial):
    print(int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize(), flush=True)
hypermodel = CharLMHyperModel(sys.argv[1], steps=6, num_evaluations=2, units=[4, 6, 8, 10], layers=[1, 2],
                              embedding_dim=[4, 8], batch_size=4, sequence_length=16)
search(hypermodel, "random", sys.argv[2], trials=30, on_trial=resident)
"""


@pytest.mark.slow
def test_memory_does_not_grow(tmp_path):
    """Thirty trials in one process: its memory after each of the last ten as after each of the first ten."""
    output = run_python(MEMORY, TEXT, tmp_path / "search")
    sizes = [int(line) / 2**20 for line in output.split()]
    print("MiB after each trial:", *map(round, sizes))
    assert len(sizes) == 30
    assert np.mean(sizes[-10:]) < 1.1 * np.mean(sizes[:10])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the size of files")
def test_a_disk_that_is_full_ends_in_one_line_and_the_search_can_be_resumed(tmp_path):
    """No file may be longer than 5 kB: the state fits, the weights do not."""
    program = """
import resource, sys
from pathlib import Path
from helpers.fake_searches import Fake
from tfcharlm.tuning import search
directory, limit = Path(sys.argv[1]), int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
tuner = search(Fake(directory), "random", directory / "search", trials=3, resume=True, on_message=print)
print(tuner.oracle.stopped_because, sorted(tuner.oracle.end_order))
"""
    line = "the disk is full, or a file reached its limit; make room and resume the search. No finished trial is lost."
    assert run_python(program, tmp_path, 5000) == f"{line} []\n"
    # What was running is run again.
    assert run_python(program, tmp_path, 0).splitlines()[-1] == "None ['0', '1', '2']"
