"""Files that are complete or absent, even after a kill or on a full disk, and directories for one process at a time."""

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
        FileExistsError: the file already exists.

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
        return  # Windows cannot open directories
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` make a file, and renames it to `path` once it is on the disk.

    Args:
        path: the file to make or replace.
        write: called with the path to write to, which has the same ending as `path`.

    Example:

    >>> import pathlib, tempfile
    >>> from tfcharlm.atomic_files import replace_file
    >>> path = pathlib.Path(tempfile.mkdtemp(), "state.txt")
    >>> replace_file(path, lambda partial: partial.write_text("to be"))
    >>> path.read_text()
    'to be'
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
    """Makes a directory of files, and renames it to `path` once all files are on the disk.

    Args:
        path: the directory to make or replace.
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
    """Makes a directory that appears under its name when it is complete, or not at all.

    Missing parent directories are made, and removed again if the block fails.

    Args:
        path: the directory to make.

    Yields:
        A directory beside `path` to write into. It is renamed to `path` at the end of the block.

    Raises:
        OSError: somebody else has made `path` in the meantime, and it is not an empty directory.
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
            with contextlib.suppress(OSError):  # not empty: it contains the new directory
                parent.rmdir()


def remove_directory(path: Path) -> None:
    """Removes a directory, or a file of this name. The name is free at once, so nobody finds half a directory."""
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
    """The name of a file while it is written. `lock` removes the files that a killed process left under such names."""
    return path.with_name(f"{PARTIAL}{os.getpid()}-{secrets.token_hex(4)}-{path.name}")


@contextlib.contextmanager
def lock(directory: Path | str, purpose: str) -> Iterator[None]:
    """Keeps every other process out of a directory while the block runs. A process that dies releases the lock.

    Partial files that a killed process left are removed.

    Args:
        directory: made if it does not exist.
        purpose: what the directory is used for, such as "a search". The error in the other process says so.

    Raises:
        ValueError: another process uses the directory.

    Example:

    >>> import tempfile
    >>> from tfcharlm.atomic_files import lock
    >>> directory = tempfile.mkdtemp()
    >>> with lock(directory, "a search"), lock(directory, "a search"):
    ...     pass
    Traceback (most recent call last):
    ValueError: a search is running in ...; wait for its end, or stop it first.
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
