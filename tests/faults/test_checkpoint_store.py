"""A checkpoint is complete or known not to be, whatever breaks while it is saved or afterwards."""

import errno
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.checkpoints import DAMAGES, FILES, assert_clean, directory_with, next_process, same, tree_of
from helpers.damaged_files import CONTENTS
from helpers.failing_calls import Calls, Killed, killed_at, refused

from tfcharlm.checkpoint import CheckpointError, CheckpointStore, store

# What may be in `state.json` although its sum is right.
STATES = CONTENTS | {
    "another step": b'{"step": "' + b"s" * 10_000 + b'", "tree": {}}',
    "an array that is not there": b'{"step": 20, "tree": [' + b'{"numpy.ndarray": "float32"}, ' * 99 + b"1]}",
    "an array of an unknown type": b'{"step": 20, "tree": {"numpy.ndarray": "float"}}',
    "an array of no type": b'{"step": 20, "tree": {"numpy.ndarray": [1]}}',
}


@pytest.mark.parametrize("half", [False, True], ids=["before", "in the middle of"])
@pytest.mark.parametrize("damaged", [False, True], ids=["a new step", "a damaged step"])
def test_a_kill_at_any_call_of_a_save_leaves_the_old_or_the_new(tmp_path, half, damaged):
    """The step that is saved may be there already, damaged: the run went on from the one before."""
    found, place = [], 0
    while not found or found[-1] != "finished":
        directory = directory_with(tmp_path / str(place), 10, 20, *[30] * damaged)
        if damaged:
            (directory / "checkpoint-0000000030" / "state.json").write_bytes(b"{}")
        saving, step, damages = next_process(directory)
        assert (step, len(damages)) == (20, damaged)
        try:
            with Calls(killed_at(place, half)):
                saving.save(30, tree_of(30))
            found.append("finished")
        except Killed:
            found.append("killed")
        after, step, damages = next_process(directory)
        assert step in (20, 30) and (step == 30 or found[-1] == "killed")
        # A damaged one may be there still: it is noticed as before.
        assert len(damages) <= (damaged and step == 20)
        found[-1:] = [step, found[-1]]
        after.save(40, tree_of(40))
        assert_clean(directory, step, 40)
        place += 1
    print(f"{place - 1} places, {found.count(20)} times the old one")
    assert place > 15 and found.count(20) > 10 and found.count(30) > 2


def test_a_save_in_place_would_not_outlive_a_kill(tmp_path, monkeypatch):
    """The negative control of the test above: files that are written where they are read."""

    def careless(path, files):
        path.mkdir()
        for name, data in files.items():
            (path / name).write_bytes(data[:0])
            file = os.open(path / name, os.O_WRONLY)
            os.write(file, data)
            os.close(file)

    monkeypatch.setattr(store, "replace_directory", careless)
    torn = 0
    for place in range(1, 7):
        directory = directory_with(tmp_path / str(place), 10, 20)
        with pytest.raises(Killed), Calls(killed_at(place, half=True)):
            CheckpointStore(directory).save(30, tree_of(30))
        _, step, damages = next_process(directory)
        torn += step == 20 and len(damages)
    assert torn == 6


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux, where /proc lists open files")
def test_everything_is_on_the_disk_before_it_has_its_name(tmp_path):
    """What a power cut needs: files and names are brought to the disk before the rename, and that before a removal."""
    directory, events, names = directory_with(tmp_path / "run", 10, 20), [], {}

    def note(number, name, function, arguments):
        if name == "write":
            events.append(("write", names[arguments[0]]))
        elif name == "fsync":
            events.append(("fsync", Path(f"/proc/self/fd/{arguments[0]}").readlink().name))
        elif name in ("mkdir", "rename", "rmdir"):
            events.append((name, Path(arguments[-1] if name == "rename" else arguments[0]).name))

    class Named(Calls):
        """Knows the files by their numbers."""

        def _counted(self, name, function):
            call = super()._counted(name, function)

            def opened(path, *arguments, **named):
                file = call(path, *arguments, **named)
                names[file] = Path(path).name
                return file

            return opened if name == "open" else call

    saving = CheckpointStore(directory)
    saving.load(20)
    with Named(note):
        saving.save(30, tree_of(30))
    # Partial names have random digits.
    events = [(name, re.sub(rf"^partial-{os.getpid()}-[0-9a-f]{{8}}-", "partial-", path)) for name, path in events]
    partial = "partial-checkpoint-0000000030"
    written = [
        event
        for name in ("state.json", "arrays.npy", "manifest.sha256")
        for event in (("write", name), ("fsync", name))
    ]
    new = [("mkdir", partial), *written, ("fsync", partial), ("rename", "checkpoint-0000000030"), ("fsync", "run")]
    assert events[: len(new)] == new
    assert events[len(new)] == ("rename", "partial-checkpoint-0000000010.removed")


@pytest.mark.parametrize("code", ["ENOSPC", "EIO", "EROFS"])
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_a_save_that_fails_costs_nothing_that_is_there(tmp_path, code, lasting):
    """A full disk can still remove; a disk that is broken or was made read-only can do nothing more."""
    names = (
        ("open", "write", "fsync", "mkdir", "rename")
        if code == "ENOSPC"
        else ("write", "fsync", "mkdir", "rename", "unlink", "rmdir")
    )
    place, failed = 0, True
    while failed or place < 9:
        directory = directory_with(tmp_path / str(place), 10, 20)
        saving, _, _ = next_process(directory)
        with Calls(refused(getattr(errno, code), range(place, 999 if lasting else place + 1), names)) as calls:
            try:
                saving.save(30, tree_of(30))
                failed = calls.number > place
            except OSError as error:
                assert error.errno == getattr(errno, code)
                failed = True
        kept = CheckpointStore(directory)
        assert kept.load_newest()[0] in (20, 30) and kept.load_newest()[2] == []
        if kept.steps()[0] == 20:
            assert {10, 20} <= set(kept.steps()), "nothing new, and an old one is gone"
        saving.save(40, tree_of(40))
        _, step, damages = next_process(directory)
        assert (step, damages) == (40, [])
        place += 1
    print(f"{place - 1} places")


# -- damage


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_a_file_is_noticed_and_the_checkpoint_before_is_used(tmp_path, rng, damage, name):
    directory = directory_with(tmp_path / "run", 10, 20)
    DAMAGES[damage](directory / "checkpoint-0000000020" / name, rng)
    found, step, (line,) = next_process(directory)
    assert step == 10 and "checkpoint-0000000020" in line and name in line and "\n" not in line
    found.save(30, tree_of(30))
    assert_clean(directory, 10, 30)

    DAMAGES[damage](directory / "checkpoint-0000000010" / name, rng)
    # The other one's file is its own by now.
    damage = "a byte too long" if damage == "the other checkpoint's" else damage
    DAMAGES[damage](directory / "checkpoint-0000000030" / name, rng)
    with pytest.raises(CheckpointError, match=r"(?s)no checkpoint.*-0000000030.*-0000000010.*To start again, remove"):
        CheckpointStore(directory).load_newest()


@pytest.mark.parametrize("damage", ["another file", "another step's name", "no directory", "a link to itself", "empty"])
def test_damage_to_a_directory_is_noticed(tmp_path, damage):
    directory = directory_with(tmp_path / "run", 10, 20)
    newest = directory / "checkpoint-0000000020"
    if damage == "another file":
        (newest / "more").write_bytes(b"")
    elif damage == "another step's name":
        newest = newest.rename(directory / "checkpoint-0000000025")
    else:
        shutil.rmtree(newest)
        {"no directory": newest.touch, "a link to itself": lambda: newest.symlink_to(newest), "empty": newest.mkdir}[
            damage
        ]()
    _, step, (line,) = next_process(directory)
    assert step == 10 and newest.name in line


def flipped_bits(directory, rng, number):
    """Flips bits of the newest checkpoint one at a time, all files alike by their size: how many nobody notices."""
    paths = [directory / "checkpoint-0000000020" / name for name in FILES]
    contents = [path.read_bytes() for path in paths]
    silent = 0
    for bit in rng.choice(8 * sum(map(len, contents)), number, replace=False):
        place, file = bit // 8, 0
        while place >= len(contents[file]):
            place, file = place - len(contents[file]), file + 1
        damaged = bytearray(contents[file])
        damaged[place] ^= 1 << (bit % 8)
        paths[file].write_bytes(damaged)
        try:
            step, tree, damages = CheckpointStore(directory).load_newest()
            silent += (step, len(damages)) != (10, 1) or not same(tree, tree_of(10))
        except CheckpointError:
            raise
        except Exception:  # a number that is none, a name that is not there: noticed, if not understood
            silent += 0
        paths[file].write_bytes(contents[file])
    return silent


def test_a_thousand_flipped_bits_are_noticed(tmp_path, rng):
    assert flipped_bits(directory_with(tmp_path / "run", 10, 20), rng, 1000) == 0


def test_without_the_sums_flipped_bits_would_not_be_noticed(tmp_path, rng, monkeypatch):
    directory = directory_with(tmp_path / "run", 10, 20)
    monkeypatch.setattr(store, "_manifest", lambda files: files["manifest.sha256"])
    assert flipped_bits(directory, rng, 200) > 50


@pytest.mark.parametrize("damage", STATES)
def test_a_state_with_right_sums_that_is_not_a_checkpoint_is_damaged(tmp_path, damage):
    """Somebody has written it and its sums: the checkpoint before it is used."""
    newest = directory_with(tmp_path / "run", 10, 20) / "checkpoint-0000000020"
    (newest / "state.json").write_bytes(STATES[damage])
    files = {name: (newest / name).read_bytes() for name in ("state.json", "arrays.npy")}
    (newest / "manifest.sha256").write_bytes(store._manifest(files))
    _, step, (line,) = next_process(tmp_path / "run")
    assert step == 10 and newest.name in line and "\n" not in line and len(line) < 300


def test_what_cannot_be_saved_is_an_error(tmp_path):
    for tree in (
        {"weights": np.array([1.0, np.nan])},
        {"loss": float("inf")},
        {"names": {"a", "b"}},
        {"path": tmp_path},
    ):
        with pytest.raises(ValueError, match=r"finite|not an array of numbers|JSON"):
            CheckpointStore(tmp_path).save(10, tree)
    assert list(tmp_path.iterdir()) == []
