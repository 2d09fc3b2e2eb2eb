"""Files that are complete or absent, even after a kill or on a full disk, and directories for one process at a time.

Everything is written under a partial name and then renamed. A process that is killed leaves its partial files behind;
the next process that writes to the same directory removes them (`writing_to`).
"""

import contextlib
import itertools
import os
import platform
import re
import secrets
import shutil
import stat
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import filelock

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# A partial name has the number of its process, four digits for its machine, and four that differ each time.
PARTIAL = re.compile(r"partial-\d+-([0-9a-f]{4})[0-9a-f]{4}-.+", re.DOTALL)
MACHINE = f"{zlib.crc32(platform.node().encode()) & 0xFFFF:04x}"
_numbers = itertools.count(secrets.randbits(16))
# The locks of some network file systems do not reach other machines. So what another machine wrote is a leftover only
# if it has not changed for a day.
SECONDS_OF_OTHER_MACHINES = 24 * 60 * 60
# How long a writer waits while another process removes leftovers. Then it writes anyway.
SECONDS_TO_WAIT = 10


def write_file(path: Path, data: bytes) -> None:
    """Writes a new file and flushes it to the disk; a FileExistsError if there is one already."""
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
    """
    with _partial(path) as partial:
        write(partial)
        # Windows flushes only what is open for writing.
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
        partial.replace(path)


def replace_directory(path: Path, files: Mapping[str, bytes]) -> None:
    """Makes a directory of files, and renames it to `path` once all files are on the disk.

    Args:
        path: the directory to make or replace.
        files: `{name: content}`.
    """
    with _partial(path) as partial:
        partial.mkdir()
        for name, data in files.items():
            write_file(partial / name, data)
        sync_directory(partial)
        remove_directory(path)
        partial.rename(path)
        sync_directory(path.parent)


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
    try:
        with _partial(path) as partial:
            partial.mkdir()
            yield partial
            partial.rename(path)
    finally:
        for parent in missing:
            with contextlib.suppress(OSError):  # not empty: it contains the new directory
                parent.rmdir()


def remove_directory(*paths: Path) -> None:
    """Removes directories or files of one directory. A name is free at once, so nobody finds half a directory."""
    if present := [path for path in paths if os.path.lexists(path)]:
        with writing_to(present[0].parent):
            for path in present:
                partial = partial_path(path).with_suffix(".removed")
                path.rename(partial)
                clear(partial)


def clear(path: Path) -> None:
    """Removes a file, or a directory with its content."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """A partial path for a file or a directory. What is still there at the end of the block is removed."""
    with writing_to(path.parent):
        partial = partial_path(path)
        try:
            yield partial
        finally:
            with contextlib.suppress(OSError):
                clear(partial)


def partial_path(path: Path) -> Path:
    """The name of a file while it is written, inside a block of `writing_to`."""
    return path.with_name(f"partial-{os.getpid()}-{MACHINE}{next(_numbers) & 0xFFFF:04x}-{path.name}")


@contextlib.contextmanager
def writing_to(directory: Path, alone: bool = False) -> Iterator[None]:
    """Protects the partial files that a block writes to a directory, and first removes those of killed processes.

    Writers share a lock on the directory itself, which the system releases when a process dies. Whoever can have that
    lock alone knows that nobody is writing, so all partial files are leftovers. The number of a process in a name would
    be no proof: in another container, or after a while, it belongs to another process.

    Args:
        directory: an existing directory.
        alone: whether the caller has the directory for itself. If not (default), nothing is removed on file systems
            that cannot lock a directory, such as NFS, and not at once if another machine wrote it.
    """
    file = None
    with contextlib.suppress(OSError):  # Windows cannot open directories
        file = os.open(directory, os.O_RDONLY)
    try:
        exclusive = _locked(file, exclusive=True)
        if exclusive or (alone and exclusive is None):
            _remove_leftovers(directory, alone)
        deadline = time.monotonic() + SECONDS_TO_WAIT
        while _locked(file, exclusive=False) is False and time.monotonic() < deadline:
            time.sleep(0.01)
        yield
    finally:
        if file is not None:
            os.close(file)


def _locked(file: int | None, exclusive: bool) -> bool | None:
    """Tries to lock an open directory: True, False while another process has it, None if it cannot be locked."""
    if file is None or fcntl is None:
        return None
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        return False if isinstance(error, BlockingIOError) else None
    return True


def _remove_leftovers(directory: Path, alone: bool) -> None:
    before = time.time() - SECONDS_OF_OTHER_MACHINES
    for path in list(directory.iterdir()):
        match = PARTIAL.fullmatch(path.name)
        with contextlib.suppress(OSError):  # it may belong to another user
            if match and (alone or match[1] == MACHINE or path.lstat().st_mtime < before):
                clear(path)


@contextlib.contextmanager
def lock(directory: Path | str, purpose: str) -> Iterator[None]:
    """Keeps every other process out of a directory while the block runs. A process that dies releases the lock.

    Args:
        directory: made if it does not exist.
        purpose: what the directory is used for, such as "a search". The error in the other process says so.

    Raises:
        OSError: something else has the name `lock` in the directory, such as a symbolic link.
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
    _check_lock(directory / "lock")
    file = filelock.FileLock(directory / "lock", blocking=False)
    try:
        file.acquire()
    except filelock.Timeout as error:
        raise ValueError(f"{purpose} is running in {directory}; wait for its end, or stop it first.") from error
    except NotImplementedError:
        pass  # some network file systems have no locks
    try:
        with writing_to(directory, alone=True):
            pass
        yield
    finally:
        file.release()


def _check_lock(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        status = path.lstat()
        # Some versions of filelock empty what they open. The lock in a copy made of hard links is empty already.
        if not stat.S_ISREG(status.st_mode) or (status.st_nlink > 1 and status.st_size):
            raise OSError(f"{path} must be an empty file, the lock of its directory; remove what is there.")
