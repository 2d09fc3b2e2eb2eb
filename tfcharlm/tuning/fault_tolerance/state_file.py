"""The file that holds the state of a search: it is replaced atomically, and the generation before it is kept."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfcharlm.atomic_files import replace_file
from tfcharlm.bookkeeping import read_object

SUM = "sha256"


class StateFile:
    """A JSON object in a file that is always complete, even if the process is killed while writing.

    A new generation is written to a file beside the old one, flushed to the disk, and renamed. The old generation stays
    as `<name>.previous`, in case something else damages the file. Each has the SHA-256 sum of its content, because a
    file can be JSON and damaged.

    Args:
        path: path of the newest generation.

    Example:

    >>> import os
    >>> import tempfile
    >>> from tfcharlm.tuning.fault_tolerance.state_file import StateFile
    >>> file = StateFile(os.path.join(tempfile.mkdtemp(), "state.json"))
    >>> file.save({"trials": 1})
    >>> file.save({"trials": 2})
    >>> [(name, state) for name, state in file.generations()]
    [('state.json', {'trials': 2}), ('state.json.previous', {'trials': 1})]
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.previous = self.path.with_name(self.path.name + ".previous")
        self._last: str | None = None

    def exists(self) -> bool:
        """Whether there is a generation, readable or not."""
        return self.path.exists() or self.previous.exists()

    def save(self, state: dict[str, Any]) -> None:
        """Makes `state` the newest generation."""
        text = json.dumps({SUM: _sum_of(state)} | state)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # The previous generation is written from memory: the file may have been damaged since, and must not replace a
        # generation that can be read.
        last = self._last
        if last is not None:
            replace_file(self.previous, lambda path: path.write_text(last, encoding="utf-8"))
        replace_file(self.path, lambda path: path.write_text(text, encoding="utf-8"))
        self._last = text

    def generations(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The generations that are not damaged, the newest first, as pairs of a file's name and its object.

        Raises:
            PermissionError: a file may not be read. It need not be damaged.
        """
        for path in (self.path, self.previous):
            state = read_json(path)
            if state is None:
                continue
            text, expected = json.dumps(state), state.pop(SUM, None)
            # Files of earlier versions have no sum.
            if expected in (None, _sum_of(state)):
                self._last = text
                yield path.name, state


def read_json(path: Path | str) -> dict[str, Any] | None:
    """The JSON object in a file; None if the file is missing, incomplete or holds something else."""
    try:
        return read_object(path)
    except PermissionError:
        raise
    except (OSError, ValueError):
        return None


def _sum_of(state):
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()
