"""Files that a kill, a full disk or a second process cannot tear: each is complete or not there."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import filelock

PARTIAL = "partial-"


def write_file(path: Path, data: bytes) -> None:
    """Writes a new file and flushes it to the disk.

    Args:
        path: the file to make.
        data: its content.

    Raises:
        FileExistsError: the file exists already.

    Example:

    >>> import pathlib, tempfile
    >>> from tfcharlm.atomic_files import write_file
    >>> path = pathlib.Path(tempfile.mkdtemp(), "state")
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


def sync_directory(path: Path) -> None:
    """Flushes the names in a directory, so that a rename into it survives a power cut."""
    if os.name == "nt":
        return  # Windows opens no directories
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` make a file, and renames it to `path` once it is on the disk.

    Args:
        path: the file to make or replace.
        write: called with the path to write to, which ends like `path`.
    """
    partial = partial_path(path)
    try:
        write(partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def replace_directory(path: Path, files: Mapping[str, bytes]) -> None:
    """Makes a directory of files, and renames it to `path` once all of it is on the disk.

    Args:
        path: the directory to make; one that exists is removed.
        files: `{name: content}`.
    """
    partial = partial_path(path)
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


@contextlib.contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Makes a directory that appears under its name complete, or not at all.

    Missing parent directories are made, and removed again if nothing comes of it.

    Args:
        path: the directory to make.

    Yields:
        A directory beside `path` to write into. It is renamed to `path` at the end of the block.

    Raises:
        OSError: `path` came into existence in the meantime, unless it is an empty directory.
    """
    missing = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    try:
        partial.mkdir()
        yield partial
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        for parent in missing:
            with contextlib.suppress(OSError):  # not empty: it holds what was made
                parent.rmdir()


def remove_directory(path: Path) -> None:
    """Removes a directory, or whatever has its name. The name is free at once, so nobody finds half of it."""
    if not os.path.lexists(path):
        return
    partial = partial_path(path).with_suffix(".removed")
    path.rename(partial)
    clear(partial)


def clear(path: Path) -> None:
    """Removes a file, or a directory with its content."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def partial_path(path: Path) -> Path:
    """The name of a file while it is being written. `lock` removes what a killed process left under such names."""
    return path.with_name(f"{PARTIAL}{os.getpid()}-{secrets.token_hex(4)}-{path.name}")


@contextlib.contextmanager
def lock(directory: Path | str, purpose: str) -> Iterator[None]:
    """Keeps every other process out of a directory while the block runs; a process that dies releases it.

    Files that a killed process left half written are removed.

    Args:
        directory: made if it does not exist.
        purpose: what the directory is used for, as the other process is told: "a search".

    Raises:
        ValueError: another process uses the directory.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    file = filelock.FileLock(directory / "lock", blocking=False)
    try:
        file.acquire()
    except filelock.Timeout as error:
        raise ValueError(f"{purpose} is running in {directory}; wait for its end, or stop it first.") from error
    except NotImplementedError:
        pass  # some network file systems have no locks
    try:
        for partial in directory.glob(f"{PARTIAL}*"):
            clear(partial)
        yield
    finally:
        file.release()
