"""Checkpoints on the disk: each is a directory that is complete, or that is known to be damaged."""

import hashlib
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tfcharlm.atomic_files import remove_directory, replace_directory

# The newest and the one before it, in case something outside damages the newest.
KEPT = 2
STATE, ARRAYS, MANIFEST = "state.json", "arrays.npy", "manifest.sha256"
# The key of the JSON object that replaces an array. No dictionary in a tree may have it.
ARRAY = "numpy.ndarray"
# What Python and NumPy raise for JSON and arrays that are not what `save` wrote.
UNREADABLE = (ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError, RecursionError, MemoryError)
_NAME = re.compile(r"checkpoint-(\d{10,})")


class CheckpointError(ValueError):
    """A run cannot resume from these checkpoints, or with these arguments. Nothing was changed."""


class DamagedError(CheckpointError):
    """A checkpoint does not contain what was written."""


class CheckpointStore:
    """The last two checkpoints of one run.

    A checkpoint is a directory `checkpoint-<step>` of three files: a tree as JSON, its arrays, and the SHA-256 of both
    in the format of `sha256sum`. It is written under another name, flushed to the disk and renamed. So a kill leaves
    all of it or nothing.

    Args:
        directory: of the checkpoints; the caller keeps other processes out of it.

    Example:

    >>> import tempfile
    >>> import numpy as np
    >>> from tfcharlm.checkpoint import CheckpointStore
    >>> store = CheckpointStore(tempfile.mkdtemp())
    >>> for step in (10, 20, 30):
    ...     path = store.save(step, {"loss": 1.5, "weights": np.ones(2)})
    >>> store.steps(), store.load(30)
    ([30, 20], {'loss': 1.5, 'weights': array([1., 1.])})
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        self._good: list[int] = []

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, damaged or not, the newest first."""
        names = [path.name for path in self.directory.iterdir()] if self.directory.is_dir() else []
        return sorted((int(match[1]) for match in map(_NAME.fullmatch, names) if match), reverse=True)

    def path(self, step: int) -> Path:
        """The directory of the checkpoint of a step."""
        return self.directory / f"checkpoint-{step:010}"

    def save(self, step: int, tree: Mapping[str, Any]) -> Path:
        """Writes a checkpoint, and removes all but this one and the last good one before it.

        Args:
            step: how many steps the run has done.
            tree: a dictionary of dictionaries, lists, strings, finite numbers and NumPy arrays.

        Returns:
            The path of its directory.

        Raises:
            OSError: it cannot be written; the earlier ones are still there.
            ValueError: a number is not finite.
        """
        arrays, content = io.BytesIO(), {"step": step, "tree": tree}
        state = json.dumps(content, default=lambda array: _stored(array, arrays), allow_nan=False)
        files = {STATE: state.encode(), ARRAYS: arrays.getvalue()}
        replace_directory(self.path(step), {**files, MANIFEST: _manifest(files)})
        self._good = [*self._good[1 - KEPT :], step]
        # All at once: for each one, the directory would be searched again.
        remove_directory(*(self.path(other) for other in self.steps() if other not in self._good))
        return self.path(step)

    def load(self, step: int) -> Any:
        """Reads a checkpoint.

        Args:
            step: one of `steps()`.

        Returns:
            The tree that was saved.

        Raises:
            DamagedError: a byte is not what was written; the message names the file.
        """
        directory = self.path(step)
        state = _verified_files(directory)
        arrays = io.BytesIO(state[ARRAYS])
        try:
            content = json.loads(state[STATE], object_hook=lambda entry: _loaded(entry, arrays))
            found, tree = content["step"], content["tree"]
        except UNREADABLE as error:  # the sums are right, so somebody else has written it
            raise DamagedError(f"{directory} must be a checkpoint of tfcharlm; received another content") from error
        if found != step:
            raise DamagedError(f"{directory} is the checkpoint of step {found!r:.40}")
        self._good = [step]
        return tree

    def load_newest(self) -> tuple[int | None, Any, list[str]]:
        """Reads the newest checkpoint that is not damaged.

        Returns:
            `(step, tree, damages)`: step and tree are None if there is no checkpoint at all; `damages` has one line for
            each newer checkpoint that is damaged.

        Raises:
            CheckpointError: all checkpoints are damaged.
        """
        damages: list[str] = []
        for step in self.steps():
            try:
                return step, self.load(step), damages
            except DamagedError as damage:
                damages.append(str(damage))
        if damages:
            raise CheckpointError(
                f"no checkpoint can be read: {'; '.join(damages)}. To start again, remove {self.directory}."
            )
        return None, None, []


def _stored(array: Any, file: BinaryIO) -> dict[str, str]:
    """The JSON object that replaces an array; the arrays themselves are in a file, one after the other."""
    array = np.asarray(array)
    if array.dtype.kind in "OSU":
        raise ValueError(f"{array!r:.60} is not an array of numbers")
    if not np.isfinite(array).all():
        raise ValueError(f"{array} is not finite")
    np.save(file, array, allow_pickle=False)
    # NumPy's format does not know bfloat16.
    return {ARRAY: array.dtype.name}


def _loaded(entry: dict, file: BinaryIO) -> Any:
    if list(entry) != [ARRAY]:
        return entry
    return np.load(file, allow_pickle=False).view(np.dtype(entry[ARRAY]))


def _manifest(files):
    return "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in (ARRAYS, STATE)).encode()


def _verified_files(directory):
    expected = sorted((STATE, ARRAYS, MANIFEST))
    try:
        names = sorted(path.name for path in directory.iterdir())
    except OSError as error:
        raise DamagedError(f"{directory} cannot be read ({error.strerror})") from error
    if names != expected:
        raise DamagedError(f"{directory} has {', '.join(names) or 'nothing'} instead of {', '.join(expected)}")
    files = {}
    for name in names:
        path = directory / name
        # Reading anything else, such as a pipe, might never end.
        if not path.is_file():
            raise DamagedError(f"{path} is not a file")
        try:
            files[name] = path.read_bytes()
        except OSError as error:
            raise DamagedError(f"{path} cannot be read ({error.strerror})") from error
    written, found = files[MANIFEST].splitlines(keepends=True), _manifest(files).splitlines(keepends=True)
    if written != found:
        wrong = [name for name, line in zip((ARRAYS, STATE), found, strict=True) if line not in written]
        if wrong:
            raise DamagedError(f"{directory / ' and '.join(wrong)} does not have the sum in {MANIFEST}")
        raise DamagedError(f"{directory / MANIFEST} is not what was written")
    return files
