"""The secret of a search: only a process that knows it may speak to the chief."""

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfcharlm.bookkeeping import read_file

VARIABLE = "TFCHARLM_SEARCH_SECRET"
FILE = "secret"
# Hexadecimal digits in the file.
SIZE = 64


def make_secret(directory: Path | str, on_message: Callable[[str], Any]) -> str:
    """The secret of the search in a directory: the one in the environment, or one in a file that only this user reads.

    The chief calls it. A chief that is started again takes the secret of the one before it, whose workers may be alive.
    A file that others can read, or that has something else, is replaced.

    Raises:
        ValueError: the variable `TFCHARLM_SEARCH_SECRET` cannot be a secret.
    """
    given = _from_environment()
    if given is not None:
        return given
    path = Path(directory, FILE)
    known = _from_file(path)
    if known is not None and _is_private(path):
        return known
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    made = secrets.token_hex(SIZE // 2)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(file, "w", encoding="ascii") as secret:  # noqa: PTH123, it is a descriptor
        secret.write(made)
    if not _is_private(path):
        on_message(f"{path} can be read by others, who can then write results of this search; set {VARIABLE} instead.")
    return made


def read_secret(directory: Path | str) -> str | None:
    """The secret as a worker finds it, in the environment or in the search's directory; None if there is none yet."""
    return _from_environment() or _from_file(Path(directory, FILE))


def forget_secret(directory: Path | str) -> None:
    """Removes the file of the secret: the search is over."""
    with contextlib.suppress(OSError):
        Path(directory, FILE).unlink()


def _from_environment():
    given = os.environ.get(VARIABLE)
    # gRPC transmits printable ASCII only.
    if given is None or re.fullmatch(r"[!-~]{16,4096}", given, re.ASCII):
        return given
    received = f"{len(given)} characters" if given.isascii() and given.isprintable() else "other characters"
    raise ValueError(
        f"{VARIABLE} must be at least 16 letters, digits and signs without spaces; received {received}. "
        f'Make one with python -c "import secrets; print(secrets.token_hex())".'
    )


def _from_file(path):
    try:
        text = read_file(path, SIZE).decode("ascii")
    except (OSError, ValueError):
        return None
    return text if re.fullmatch(rf"[0-9a-f]{{{SIZE}}}", text) else None


def _is_private(path):
    """Whether only this user can read a file. Windows has no such bits; the rights of the directory hold there."""
    status = path.lstat()
    return os.name == "nt" or (stat.S_ISREG(status.st_mode) and not status.st_mode & 0o077 and _is_own(status))


def _is_own(status):
    return status.st_uid == os.geteuid()
