"""Files of trials that are damaged are skipped, whatever they are now."""

import sys
import types

import pytest
from helpers.damaged_files import DAMAGES

from tfcharlm.tuning.fault_tolerance.state_file import StateFile
from tfcharlm.tuning.fault_tolerance.trial_files import TrialFiles, finished_curves
from tfcharlm.tuning.fault_tolerance.workers import Workers


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_of_a_trial_are_as_if_they_were_not_there(tmp_path, damage):
    good, bad = TrialFiles(tmp_path, "0"), TrialFiles(tmp_path, "1")
    for files in (good, bad):
        files.clear()
        files.write_curve({"val_loss": [2.5]}, first=0)
        files.write_error("it diverged")
    DAMAGES[damage](bad.curve)
    DAMAGES[damage](bad._error)
    assert finished_curves(tmp_path) in ([[2.5]], [[2.5], []])
    assert good.error() == "it diverged" and isinstance(bad.error(), str | None)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_of_a_search_gives_way_to_the_one_before(tmp_path, damage):
    file = StateFile(tmp_path / "oracle.json")
    for trials in (1, 2):
        file.save({"trials": trials})
    DAMAGES[damage](file.path)
    *_, last = StateFile(file.path).generations()
    assert last == ("oracle.json.previous", {"trials": 1})


def test_a_link_in_the_place_of_a_log_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "worker0.log").symlink_to(tmp_path / "precious")
    workers = Workers(types.SimpleNamespace(), [sys.executable, "-c", "print('to be')"], 1, ("127.0.0.1", 1), tmp_path)
    workers._start(workers.workers[0])
    assert workers.workers[0].process.wait(60) == 0
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / "worker0.log").read_text() == "to be\n"
