"""Reading a directory that anybody may have written: within bounds, never through a link, each file opened once."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# An export has about ten.
MAX_FILES = 100
MAX_BYTES = 2**34
CHUNK = 2**20
# Windows opens files by their paths only.
BY_DESCRIPTOR = os.open in os.supports_dir_fd and os.scandir in os.supports_fd
# Otherwise, if a FIFO has replaced a file meanwhile, opening it would wait.
FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class OpenFile(NamedTuple):
    """A regular file that is open for reading.

    Args:
        name: its path in the directory, with slashes.
        size: its size in bytes when it was opened.
        descriptor: its file descriptor.
    """

    name: str
    size: int
    descriptor: int

    def chunks(self) -> Iterator[bytes]:
        """The content in pieces of at most 1 MiB. What is appended meanwhile is not read."""
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        rest = self.size
        while rest and (chunk := os.read(self.descriptor, min(CHUNK, rest))):
            rest -= len(chunk)
            yield chunk

    def read(self, limit: int) -> bytes:
        """The content; a ValueError if it has more than `limit` bytes."""
        if self.size > limit:
            raise ValueError(f"{Path(self.name).name} has {self.size:,} bytes; at most {limit:,} are read")
        return b"".join(self.chunks())

    def sha256(self) -> str:
        """The SHA-256 sum of the content, in hexadecimal."""
        sums = hashlib.sha256()
        for chunk in self.chunks():
            sums.update(chunk)
        return sums.hexdigest()


class OpenFiles(dict[str, OpenFile]):
    """The open files of a directory, by their paths in it with slashes.

    Args:
        irregular: one line for each symbolic link, and for each other thing that is neither a file nor a directory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.irregular: list[str] = []


@contextlib.contextmanager
def open_files(directory: Path | str) -> Iterator[OpenFiles]:
    """Opens all files in a directory and its subdirectories, and closes them at the end of the block.

    Folders are opened from the folder above them, and files from their folder. So what is renamed, or replaced by a
    link, while the block runs is not followed.

    Args:
        directory: may itself be a symbolic link.

    Yields:
        The files.

    Raises:
        OSError: a folder or a file cannot be opened.
        ValueError: there are more than 100 entries, or more than 16 GiB.
    """
    files = OpenFiles()
    with contextlib.ExitStack() as stack:
        folders, entries = [("", _open_folder(directory, None, stack))], 0
        while folders:
            folder, descriptor = folders.pop()
            with os.scandir(descriptor) as found:
                for entry in found:
                    name, entries = folder + entry.name, entries + 1
                    if entries > MAX_FILES:
                        raise ValueError(f"there are more than {MAX_FILES:,} files")
                    if entry.is_symlink():
                        files.irregular.append(f"{name!r:.200} is a symbolic link")
                    elif entry.is_dir(follow_symlinks=False):
                        folders.append((name + "/", _open_folder(entry, descriptor, stack)))
                    elif entry.is_file(follow_symlinks=False):
                        files[name] = _open_file(name, entry, descriptor, stack)
                    else:
                        files.irregular.append(f"{name!r:.200} is not a regular file")
        if sum(file.size for file in files.values()) > MAX_BYTES:
            raise ValueError(f"its files have more than {MAX_BYTES:,} bytes")
        yield files


def _open_folder(path, parent, stack):
    """What `os.scandir` and `_open` take for a folder: a descriptor, or a path where there are no descriptors."""
    if not BY_DESCRIPTOR:
        return os.fspath(path)
    # Only the first folder may be a link.
    return _open(path, parent, os.O_RDONLY | os.O_DIRECTORY | (0 if parent is None else os.O_NOFOLLOW), stack)


def _open_file(name, path, parent, stack):
    descriptor = _open(path, parent, FLAGS, stack)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{name!r:.200} is not a regular file")
    return OpenFile(name, status.st_size, descriptor)


def _open(path, parent, flags, stack):
    inside = isinstance(parent, int)
    descriptor = os.open(Path(path).name, flags, dir_fd=parent) if inside else os.open(path, flags)
    stack.callback(os.close, descriptor)
    return descriptor
