"""Files and directories are complete or absent, and one process at a time has a directory.

What a kill at any call leaves is tested with checkpoints, in tests/faults.
"""

import contextlib
import errno
import os
import signal
import stat
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
from helpers.processes import environment

from tfcharlm import atomic_files
from tfcharlm.atomic_files import (
    lock,
    new_directory,
    partial_path,
    remove_directory,
    replace_directory,
    replace_file,
    write_file,
)


class Interrupted(BaseException):
    """What no `except Exception` catches."""


def tree(directory):
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


def test_a_file_is_new_or_an_error(tmp_path):
    write_file(tmp_path / "a", b"to be")
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "a", b"or not")
    assert (tmp_path / "a").read_bytes() == b"to be"


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, Interrupted])
def test_a_file_that_is_not_finished_leaves_the_old_one(tmp_path, old, error):
    path = tmp_path / "model.weights.h5"
    if old is not None:
        path.write_bytes(old)

    def write(partial):
        assert partial.suffix == ".h5" and partial.parent == tmp_path and partial != path
        partial.write_bytes(b"ne")
        raise error

    with pytest.raises(error):
        replace_file(path, write)
    assert tree(tmp_path) == ([] if old is None else [path.name])
    assert old is None or path.read_bytes() == old
    replace_file(path, lambda partial: partial.write_bytes(b"new"))
    assert path.read_bytes() == b"new" and tree(tmp_path) == [path.name]


def test_a_file_that_nobody_wrote_is_an_error_and_leaves_the_old_one(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "a", lambda partial: None)
    assert tree(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"old"


def test_a_directory_of_files_replaces_another(tmp_path):
    for content in (b"1", b"22"):
        replace_directory(tmp_path / "run", {"a": content, "b": content[::-1]})
        assert tree(tmp_path) == ["run", "run/a", "run/b"] and (tmp_path / "run" / "a").read_bytes() == content
    with pytest.raises(FileNotFoundError):
        replace_directory(tmp_path / "run", {"c": b"3", "no/such": b"4"})
    assert tree(tmp_path) == ["run", "run/a", "run/b"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, Interrupted])
def test_after_an_exception_nothing_is_left_of_a_new_directory(tmp_path, error):
    """Nor of the parents that were made for it."""
    with pytest.raises(error), new_directory(tmp_path / "models" / "plays" / "1") as partial:
        (partial / "part").mkdir()
        (partial / "part" / "file").write_text("half")
        raise error
    assert tree(tmp_path) == []


def test_parents_that_others_use_stay(tmp_path):
    """Those that were there before, and those into which another process has written meanwhile."""
    (tmp_path / "models").mkdir()
    with pytest.raises(OSError), new_directory(tmp_path / "models" / "plays" / "sub" / "1"):
        (tmp_path / "models" / "plays" / "2").mkdir()
        raise OSError
    assert tree(tmp_path) == ["models", "models/plays", "models/plays/2"]


def test_a_new_directory_appears_at_once(tmp_path):
    target = tmp_path / "models" / "1"
    with new_directory(target) as partial:
        assert partial.parent == target.parent and not target.exists()
        (partial / "file").write_text("whole")
    assert tree(tmp_path) == ["models", "models/1", "models/1/file"]


def test_a_directory_that_came_meanwhile_is_not_replaced(tmp_path):
    target = tmp_path / "models" / "1"
    with pytest.raises(OSError), new_directory(target) as partial:
        (partial / "file").write_text("mine")
        target.mkdir()
        (target / "file").write_text("theirs")
    assert tree(tmp_path) == ["models", "models/1", "models/1/file"]
    assert (target / "file").read_text() == "theirs"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_permissions_are_those_of_the_umask(tmp_path, mask):
    """A server that runs as another user can read a model, unless the umask says otherwise."""
    before = os.umask(mask)
    try:
        with new_directory(tmp_path / "model"):
            pass
        write_file(tmp_path / "file", b"")
        replace_directory(tmp_path / "run", {"a": b""})
        replace_file(tmp_path / "state", lambda path: path.write_bytes(b""))
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in tree(tmp_path)}
    folder, file = 0o777 & ~mask, 0o666 & ~mask
    assert modes == {"model": folder, "run": folder, "file": file, "state": file, "run/a": file}


@pytest.mark.parametrize("kind", ["directory", "file", "link", "nothing"])
def test_whatever_has_the_name_of_a_directory_is_removed(tmp_path, kind):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    path = tmp_path / "run"
    if kind == "directory":
        replace_directory(path, {"a": b"1"})
    elif kind == "file":
        path.touch()
    elif kind == "link":
        path.symlink_to(outside)
    remove_directory(path)
    assert tree(tmp_path) == ["outside", "outside/file"]


# -- one process at a time

# It has the directory for as long as its input is open.
HOLDER = """
import runpy, sys
from pathlib import Path
# The module alone: the package takes seconds to import.
lock, partial_path = map(runpy.run_path(sys.argv[2]).get, ("lock", "partial_path"))
with lock(sys.argv[1], "a search"):
    partial_path(Path(sys.argv[1], "state.json")).write_text("half")
    partial_path(Path(sys.argv[1], "run")).mkdir()
    print("has it", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_kept_out_and_what_a_killed_one_left_is_removed(tmp_path):
    directory = tmp_path / "search"
    command = [sys.executable, "-W", "error", "-c", HOLDER, str(directory), atomic_files.__file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()) as holder:
        assert holder.stdout.readline() == b"has it\n"
        with pytest.raises(ValueError) as error, lock(directory, "a search"):
            pass
        assert str(error.value) == f"a search is running in {directory}; wait for its end, or stop it first."
        assert len(tree(directory)) == 3, "its partial files are its own"
        holder.kill()
    # Of a killed process the lock is free, and what it was writing is nobody's.
    (directory / "kept").touch()
    with lock(directory, "a search"):
        assert tree(directory) == ["kept", "lock"]


def test_a_lock_is_released_after_an_exception_and_may_be_taken_again(tmp_path):
    directory = tmp_path / "new" / "run"
    with pytest.raises(KeyError), lock(directory, "a run"):
        raise KeyError
    # The same process is kept out as well.
    with (
        lock(str(directory), "a run"),
        pytest.raises(ValueError, match="a run is running in"),
        lock(directory, "a run"),
    ):
        pass


def test_names_of_partial_files_are_new_each_time():
    paths = {partial_path(Path("models", "1")) for _ in range(100)}
    assert len(paths) == 100 and {path.parent for path in paths} == {Path("models")}
    assert all(path.name.startswith("partial-") and path.name.endswith("-1") for path in paths)


# -- what a killed process leaves

# It writes for as long as its input is open.
WRITER = """
import runpy, sys
from pathlib import Path
# The module alone: the package takes seconds to import.
names = runpy.run_path(sys.argv[2])
directory, how = Path(sys.argv[1]), sys.argv[3]
def wait(partial):
    if partial.is_dir():
        (partial / "variables").mkdir()
        (partial / "variables" / "data").write_text("half")
    else:
        partial.write_text("half")
    print("writes", flush=True)
    sys.stdin.read()
if how == "new_directory":
    with names["new_directory"](directory / "1") as partial:
        wait(partial)
elif how == "replace_file":
    names["replace_file"](directory / "state.json", wait)
elif how == "replace_directory":
    class Data(dict):
        def items(self):
            wait(next(directory.glob("partial-*")))
            return []
    names["replace_directory"](directory / "run", Data())
else:
    (directory / "run").mkdir()
    names["remove_directory"].__globals__["clear"] = wait
    names["remove_directory"](directory / "run")
"""
WRITERS = ["new_directory", "replace_file", "replace_directory", "remove_directory"]
WRITES = {
    "new_directory": lambda directory: new_directory(directory / "2").__enter__(),
    "replace_file": lambda directory: replace_file(directory / "other", lambda path: path.write_bytes(b"")),
    "replace_directory": lambda directory: replace_directory(directory / "2", {"a": b""}),
    "remove_directory": lambda directory: remove_directory(directory / "precious"),
    "lock": lambda directory: lock(directory, "a run").__enter__(),
}


def partial_files(directory):
    return [path.name for path in directory.glob("partial-*")]


@contextlib.contextmanager
def writing(directory, how):
    """A process in the middle of a write; it is killed at the end of the block."""
    command = [sys.executable, "-W", "error", "-c", WRITER, str(directory), atomic_files.__file__, how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()) as writer:
        assert writer.stdout.readline() == b"writes\n"
        yield writer
        writer.kill()


@pytest.mark.skipif(atomic_files.fcntl is None, reason="this system cannot lock a directory")
@pytest.mark.parametrize("how", WRITERS)
def test_what_a_killed_writer_left_is_removed_by_the_next_one_and_not_before(tmp_path, how):
    (tmp_path / "precious").touch()
    with writing(tmp_path, how):
        (left,) = partial_files(tmp_path)
        replace_file(tmp_path / "other", lambda path: path.write_bytes(b""))
        with lock(tmp_path, "a run"):
            assert partial_files(tmp_path) == [left], "its writer is alive"
    assert partial_files(tmp_path) == [left]
    replace_file(tmp_path / "other", lambda path: path.write_bytes(b""))
    assert partial_files(tmp_path) == [] and {"precious", "other", "lock"} == set(tree(tmp_path))


@pytest.mark.skipif(atomic_files.fcntl is None, reason="this system cannot lock a directory")
@pytest.mark.parametrize("next_write", WRITES)
def test_every_kind_of_write_removes_what_was_left(tmp_path, next_write):
    (tmp_path / "precious").touch()
    partial_path(tmp_path / "1").mkdir()
    (partial_path(tmp_path / "1") / "variables").mkdir(parents=True)
    partial_path(tmp_path / "curve.csv").touch()
    block = WRITES[next_write](tmp_path)
    assert all(name.endswith("-2") for name in partial_files(tmp_path))
    del block


def test_a_writer_that_is_stopped_keeps_its_partial_file(tmp_path):
    """And nobody waits for it."""
    with writing(tmp_path, "new_directory") as writer:
        writer.send_signal(signal.SIGSTOP)
        replace_directory(tmp_path / "run", {"a": b"1"})
        assert len(partial_files(tmp_path)) == 1 and (tmp_path / "run" / "a").read_bytes() == b"1"


def test_what_another_machine_writes_is_kept_for_a_day(tmp_path, monkeypatch):
    """Locks of some network file systems do not reach it."""
    with monkeypatch.context() as patch:
        patch.setattr(atomic_files, "MACHINE", f"{int(atomic_files.MACHINE, 16) ^ 1:04x}")
        old, new = (partial_path(tmp_path / name) for name in ("old", "new"))
    old.touch()
    new.touch()
    os.utime(old, (time.time() - 90_000,) * 2)
    replace_file(tmp_path / "other", lambda path: path.write_bytes(b""))
    assert set(tree(tmp_path)) == {"other", new.name}
    with lock(tmp_path, "a run"):
        assert set(tree(tmp_path)) == {"other", "lock"}, "the directory belongs to who has the lock"


def test_files_of_others_with_similar_names_are_kept(tmp_path):
    names = ["partial-results", "partial-2", "partial-1-notes.txt", "my-partial-1-0123abcd-x", "partial-1-0123abcd-"]
    for name in names:
        (tmp_path / name).touch()
    with lock(tmp_path, "a run"):
        replace_file(tmp_path / "other", lambda path: path.write_bytes(b""))
    assert set(tree(tmp_path)) == {*names, "other", "lock"}


def test_where_directories_have_no_locks_only_who_has_the_directory_removes(tmp_path, monkeypatch):
    def flock(*arguments):
        raise OSError(errno.EBADF, "as NFS answers")

    partial_path(tmp_path / "1").mkdir()
    monkeypatch.setattr(atomic_files, "fcntl", types.SimpleNamespace(LOCK_EX=2, LOCK_SH=1, LOCK_NB=4, flock=flock))
    replace_file(tmp_path / "other", lambda path: path.write_bytes(b""))
    assert len(partial_files(tmp_path)) == 1
    with lock(tmp_path, "a run"):
        assert partial_files(tmp_path) == []


# -- what somebody else has put where a lock belongs

NOT_LOCKS = {
    "link": lambda path, target: path.symlink_to(target),
    "dangling link": lambda path, target: path.symlink_to(target.with_name("nowhere")),
    "hard link": lambda path, target: path.hardlink_to(target),
    "directory": lambda path, target: path.mkdir(),
    "FIFO": lambda path, target: os.mkfifo(path),
}


@pytest.mark.parametrize("kind", NOT_LOCKS)
def test_what_is_not_a_lock_is_refused_in_one_line_and_left_as_it_is(tmp_path, kind):
    directory, target = tmp_path / "run", tmp_path / "precious"
    directory.mkdir()
    target.write_text("precious")
    NOT_LOCKS[kind](directory / "lock", target)
    with pytest.raises(OSError) as error, lock(directory, "a run"):
        pass
    assert (
        str(error.value) == f"{directory}/lock must be an empty file, the lock of its directory; remove what is there."
    )
    assert target.read_text() == "precious" and not (tmp_path / "nowhere").exists()


def test_the_lock_in_a_copy_of_hard_links_is_a_lock(tmp_path):
    for name in ("run", "copy"):
        (tmp_path / name).mkdir()
    with lock(tmp_path / "run", "a run"):
        pass
    (tmp_path / "copy" / "lock").hardlink_to(tmp_path / "run" / "lock")
    with lock(tmp_path / "copy", "a run"):
        pass


REPLACERS = {
    "file": lambda path: replace_file(path, lambda partial: partial.write_bytes(b"new")),
    "directory": lambda path: replace_directory(path, {"a": b"new"}),
    "nothing": remove_directory,
}


@pytest.mark.parametrize("how", REPLACERS)
@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link"])
def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path, how, kind):
    path, target = tmp_path / "state.json", tmp_path / "precious"
    target.write_text("precious")
    NOT_LOCKS[kind](path, target)
    REPLACERS[how](path)
    assert not path.is_symlink() and path.exists() == (how != "nothing")
    assert target.read_text() == "precious" and not (tmp_path / "nowhere").exists()


def test_many_directories_are_removed_in_one_search(tmp_path, monkeypatch):
    """Ten thousand old checkpoints took four minutes: each was removed after a search for leftovers."""
    searches, search = [], atomic_files._remove_leftovers
    monkeypatch.setattr(atomic_files, "_remove_leftovers", lambda *arguments: (searches.append(1), search(*arguments)))
    names = [f"old-{i}" for i in range(50)]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / "kept").touch()
    remove_directory(*(tmp_path / name for name in [*names, "missing"]))
    assert [path.name for path in tmp_path.iterdir()] == ["kept"] and len(searches) == 1
    remove_directory(tmp_path / "missing")
    assert len(searches) == 1
