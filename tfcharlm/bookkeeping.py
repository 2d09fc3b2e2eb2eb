"""Files that a run or a search wrote about itself, read again. If one is damaged, the error is a line with its name."""

import json
import os
import stat
from pathlib import Path
from typing import Any

# No file of this kind is larger: the state of a search of ten thousand trials has 40 MB.
MAX_BYTES = 2**28
NAMES = {list: "a list", str: "a string", int: "a number", float: "a number", bool: "a truth value"}


class DamagedFileError(ValueError):
    """A file is there, but it is not what was written."""


def read_file(path: Path | str, limit: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file.

    Args:
        path: its path.
        limit: the largest number of bytes that is read.

    Raises:
        FileNotFoundError: there is nothing of that name.
        PermissionError: this user may not read it.
        DamagedFileError: it is something else, such as a FIFO or a directory, it is too large, or it cannot be read.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise DamagedFileError(f"{path} must be a regular file; received another kind.")
            content = b"" if status.st_size > limit else file.read(limit + 1)
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise PermissionError(f"{path} cannot be read: {error.strerror}.") from error
    except OSError as error:
        raise DamagedFileError(f"{path} cannot be read: {error.strerror}.") from error
    if max(status.st_size, len(content)) > limit:
        raise DamagedFileError(f"{path} must have at most {limit:,} bytes; received {status.st_size:,}.")
    return content


def read_object(path: Path | str) -> dict[str, Any]:
    """The JSON object in a file, as a dictionary.

    Raises:
        FileNotFoundError: there is nothing of that name.
        DamagedFileError: it is not a file, or it does not hold a JSON object.
    """
    content = read_file(path)
    try:
        value = json.loads(content.decode("utf-8"))
        received = None if isinstance(value, dict) else NAMES.get(type(value), "null")
    except UnicodeDecodeError:
        received = "bytes that are not UTF-8"
    except RecursionError:
        received = "JSON that is nested too deeply"
    except ValueError:
        received = "text that is not JSON" if content else "an empty file"
    if received is not None:
        raise DamagedFileError(f"{path} must hold a JSON object; received {received}.")
    return value


def _without_waiting(path, flags):
    # Opening a FIFO would wait for somebody to write to it.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
