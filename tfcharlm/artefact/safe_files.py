"""Reading files that anybody may have written: within bounds, never through a link, and as strict JSON."""

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

MAX_FILES = 1_000
MAX_BYTES = 2**34


def list_files(directory: Path | str) -> dict[str, int]:
    """The regular files in a directory and its subdirectories: `{relative path with slashes: size in bytes}`.

    Raises:
        ValueError: there is a symbolic link, or anything else that is neither a file nor a directory; or there are more
            than 1,000 entries, or more than 16 GiB.
    """
    files, folders, entries = {}, [""], 0
    while folders:
        folder = folders.pop()
        with os.scandir(Path(directory, folder)) as found:
            for entry in found:
                name, entries = folder + entry.name, entries + 1
                if entry.is_symlink():
                    raise ValueError(f"{name!r:.200} is a symbolic link")
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name + "/")
                elif entry.is_file(follow_symlinks=False):
                    files[name] = entry.stat(follow_symlinks=False).st_size
                else:
                    raise ValueError(f"{name!r:.200} is not a regular file")
                if entries > MAX_FILES:
                    raise ValueError(f"there are more than {MAX_FILES:,} files")
    if sum(files.values()) > MAX_BYTES:
        raise ValueError(f"its files have more than {MAX_BYTES:,} bytes")
    return files


def read_file(path: Path | str, limit: int) -> bytes:
    """The bytes of a regular file; a ValueError if there are more than `limit`."""
    with _open(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = b"" if size > limit else file.read(limit + 1)
    if max(size, len(content)) > limit:
        raise ValueError(f"{Path(path).name} has {size:,} bytes; at most {limit:,} are read")
    return content


def sha256(path: Path | str) -> str:
    """The SHA-256 sum of a regular file, in hexadecimal."""
    with _open(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_json(content: bytes) -> Any:
    """Parses strict JSON: UTF-8, no key twice, neither NaN nor Infinity, and no deeper nesting than Python survives."""

    def unique(pairs):
        keys = [key for key, _ in pairs]
        if len(set(keys)) < len(keys):
            raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r:.60} occurs twice")
        return dict(pairs)

    def refuse(constant):
        raise ValueError(f"{constant} is not a number in JSON")

    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


@contextlib.contextmanager
def _open(path: Path | str) -> Iterator[BufferedReader]:
    def opener(name, flags):
        # Otherwise, if a FIFO has replaced the file meanwhile, opening it would wait.
        return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))

    with open(path, "rb", opener=opener) as file:  # Path.open takes no opener.
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"{Path(path).name} is not a regular file")
        yield file
