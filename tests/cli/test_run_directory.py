"""The record of a finished run, checkpoints and settings: found where they are moved to, named if they are damaged."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import rich.console
from helpers.command_line import SMALL
from helpers.damaged_files import DAMAGES
from helpers.processes import environment

from tfcharlm.atomic_files import lock
from tfcharlm.checkpoint import CheckpointStore
from tfcharlm.commands.run_directory import RunDirectory
from tfcharlm.commands.search_settings import check_settings

SETTINGS = {"units": 16, "seed": 0}


@pytest.fixture
def finished(tmp_path):
    """A directory of models whose run is finished."""
    directory = tmp_path / "models" / "barn"
    (directory / "3").mkdir(parents=True)
    run = RunDirectory(directory, SETTINGS)
    run.finish(directory / "3")
    return directory


@pytest.mark.parametrize(
    "change", ["moved", "copied", "made from another directory", "with a link for its checkpoints"]
)
def test_a_finished_run_is_found_wherever_it_is_and_from_any_directory(finished, tmp_path, monkeypatch, change):
    directory = tmp_path / "elsewhere" / "of another name"
    if change == "moved":
        directory.parent.mkdir()
        finished.rename(directory)
    elif change == "copied":
        shutil.copytree(finished, directory)
        shutil.rmtree(finished)
    elif change == "with a link for its checkpoints":
        directory = finished
        (finished / "checkpoints").rename(tmp_path / "disk")
        (finished / "checkpoints").symlink_to(tmp_path / "disk")
    else:
        directory = finished
        monkeypatch.chdir(finished.parent)
        RunDirectory(directory.relative_to(finished.parent), SETTINGS).finish(
            directory.relative_to(finished.parent) / "3"
        )
    for working_directory in (tmp_path, directory, directory.parent):
        monkeypatch.chdir(working_directory)
        path = os.path.relpath(directory)
        assert RunDirectory(type(directory)(path), SETTINGS).open(resume=True) == os.path.normpath(f"{path}/3")
    assert str(tmp_path) not in (directory / "checkpoints" / "finished").read_text()


def test_a_record_of_before_is_found(finished):
    """Its path was relative to a working directory that nobody knows any more, or absolute."""
    for path in ("saved_models/barn/3", "/nowhere/saved_models/barn/3"):
        (finished / "checkpoints" / "finished").write_text(json.dumps({"model": path, "settings": SETTINGS}))
        assert RunDirectory(finished, SETTINGS).open(resume=True) == str(finished / "3")


def test_a_model_that_is_missing_is_named(finished):
    (finished / "3").rmdir()
    with pytest.raises(ValueError, match=r"its model .*barn/3 is missing. To train again, omit --resume"):
        RunDirectory(finished, SETTINGS).open(resume=True)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_named_in_one_line_and_a_new_run_replaces_it(command, barn, tmp_path, damage):
    directory = tmp_path / "m"
    run = ["train", "barn.txt", "--steps", 1, *SMALL, "--name", "m", "--output", "."]
    record = directory / "checkpoints" / "finished"
    record.parent.mkdir(parents=True)
    DAMAGES[damage](record)
    status, output, error = command(*run, "--resume")
    assert (status, output, error.count("\n")) == (2, "", 1) and len(error) < 400
    assert "m/checkpoints" in error or "the saved run is another one" in error
    assert os.path.lexists(record)
    assert RunDirectory(directory, {}).open(resume=False) is None
    RunDirectory(directory, SETTINGS).finish(directory / "1")
    (directory / "1").mkdir()
    assert RunDirectory(directory, SETTINGS).open(resume=True) == str(directory / "1")


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_that_is_running_is_not_disturbed(finished, resume):
    """A second start of the same command must not tell the user to remove the directory of the first one."""
    directory = finished / "checkpoints"
    (directory / "finished").unlink()
    CheckpointStore(directory).save(5, {"loss": 1.5})
    with lock(directory, "another run"), pytest.raises(ValueError, match="another run is running in"):
        RunDirectory(finished, SETTINGS).open(resume)
    assert CheckpointStore(directory).steps() == [5]


@pytest.mark.slow
def test_of_two_trainings_into_the_same_directory_one_is_refused_and_the_other_ends(barn, tmp_path):
    command = [sys.executable, "-m", "tfcharlm_command", "train", "barn.txt", "--steps", "300", *SMALL]
    command += ["--name", "m", "--output", "out", "--checkpoint-seconds", "0.1"]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, cwd=tmp_path, env=environment(), **pipe) for _ in range(2)]
    ends = sorted((process.wait(120), *process.communicate()) for process in started)
    assert [status for status, *_ in ends] == [0, 2]
    assert ends[1][2] == "tfcharlm: another run is running in out/m/checkpoints; wait for its end, or stop it first.\n"
    assert sorted(path.name for path in (tmp_path / "out" / "m").iterdir()) == ["1", "checkpoints"]


def test_what_is_in_the_place_of_the_directory_is_named(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(ValueError, match="checkpoints must be a directory; remove what is there"):
        RunDirectory(tmp_path, {}).open(resume=True)


@pytest.mark.parametrize("tree", [[], {}, {"run_fingerprint": 1}, {"run_fingerprint": {"settings": []}}])
def test_a_checkpoint_of_something_else_is_named(tmp_path, tree):
    (tmp_path / "checkpoints").mkdir()
    CheckpointStore(tmp_path / "checkpoints").save(1, tree)
    with pytest.raises(ValueError, match=r"the checkpoints in .* must have the settings of their run"):
        RunDirectory(tmp_path, {}).settings_of_checkpoint(["units"])


# -- searches


def search_settings(directory, resume=True, **settings):
    printed = []
    console = rich.console.Console(file=None)
    console.print = lambda *texts: printed.append(" ".join(map(str, texts)))
    check_settings(console, directory, {"corpus": "text.txt", "sha256": "0", "units": [8]} | settings, resume, None)
    return printed


def test_a_search_is_resumed_from_another_working_directory(tmp_path):
    search_settings(tmp_path / "search", resume=False)
    (tmp_path / "search").rename(tmp_path / "moved")
    assert search_settings(tmp_path / "moved", corpus="../elsewhere/text.txt") == []
    for name, value in {"sha256": "1", "units": [9]}.items():
        with pytest.raises(ValueError, match="this search started with"):
            search_settings(tmp_path / "moved", **{name: value})


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_settings_of_a_search_are_named_in_one_line(tmp_path, damage):
    """In what is printed if they cannot be read, else in the error."""
    search_settings(tmp_path, resume=False)
    file = tmp_path / "settings.json"
    DAMAGES[damage](file)
    try:
        (line,) = search_settings(tmp_path)
    except ValueError as error:
        line = str(error)
        assert "this search started with" in line or "cannot be read: Is a directory" in line
    else:
        assert str(file) in line and search_settings(tmp_path) == [], "they are written again"
    assert "\n" not in line and len(line) < 400
