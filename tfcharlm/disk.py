"""Files that a kill, a full disk or a second process cannot tear."""

import contextlib
import os
import shutil
from pathlib import Path


def write_file(path, data):
    """Makes a new file of bytes and brings it to the disk.

    Raises:
        FileExistsError: there is one already.

    Example:

    >>> path = Path(tempfile.mkdtemp(), "state")
    >>> write_file(path, b"to be")
    >>> path.read_bytes()
    b'to be'
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    finally:
        os.close(file)


def sync_directory(path):
    """Brings the names in a directory to the disk: what was renamed into it is there after a power cut."""
    if os.name == "nt":
        return  # Windows opens no directories
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def replace_file(path, write):
    """Lets `write` make a file, and puts it in the place of `path` when it is on the disk: there is never half a file.

    Args:
        path: the file to replace.
        write: called with the path to write to, which ends like `path`.
    """
    partial = partial_of(path)
    try:
        write(partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def replace_directory(path, files):
    """Makes a directory of files in the place of `path`: it has its name when all of it is on the disk.

    Args:
        path: the directory to make; one that is there is removed.
        files: `{name: bytes}`.
    """
    partial = partial_of(path)
    try:
        partial.mkdir()
        for name, data in files.items():
            write_file(partial / name, data)
        sync_directory(partial)
        remove_directory(path)
        partial.rename(path)
        sync_directory(path.parent)
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(partial)


def remove_directory(path):
    """Removes a directory, or what else is there; its name is gone at once, so nobody finds half of it."""
    if not os.path.lexists(path):
        return
    partial = partial_of(path).with_suffix(".removed")
    path.rename(partial)
    clear(partial)


def clear(path):
    """Removes a file or a directory with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def partial_of(path):
    """Where a file is while it is being made; `lock` removes what a kill has left of it."""
    return path.with_name(f"partial-{os.getpid()}-{path.name}")


def lock(directory, what):
    """Keeps every other process out of a directory, until this one ends or closes what is returned.

    What a process that was killed has left half written is removed.

    Args:
        directory: made if there is none.
        what: goes on there, as the other process is told: "a search".

    Raises:
        ValueError: another process has it.
    """
    Path(directory).mkdir(parents=True, exist_ok=True)
    file = Path(directory, "lock").open("w")  # noqa: SIM115, the caller closes it
    try:
        import fcntl  # Windows has none; there nobody keeps two processes from one directory

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise ValueError(f"{what} is running in {directory}; wait for its end, or stop it first.") from error
    except (ImportError, OSError):
        pass  # some network file systems have no locks
    for partial in Path(directory).glob("partial-*"):
        clear(partial)
    return file
