"""Where checkpoints lie: each in a directory of its own that is whole, or that is noticed not to be."""

import hashlib
import io
import json
import re
from pathlib import Path

import numpy as np

from tfcharlm.atomic_files import remove_directory, replace_directory

# One before the newest, for damage that comes from elsewhere.
KEPT = 2
STATE, ARRAYS, MANIFEST = "state.json", "arrays.npy", "manifest.sha256"
# The key of what stands for an array, which no dictionary of a tree may have.
ARRAY = "numpy.ndarray"
_NAME = re.compile(r"checkpoint-(\d{10,})")


class CheckpointError(ValueError):
    """A run cannot go on from what is there, or from what it was given; nothing was changed."""


class DamagedError(CheckpointError):
    """A checkpoint is not what was written."""


class CheckpointStore:
    """The checkpoints of one run, the last two of them.

    A checkpoint is a directory `checkpoint-<step>` of three files: a tree as JSON, the arrays in it, and the SHA-256 of
    both in the format of `sha256sum`. It is written under another name, brought to the disk and renamed, so that a kill
    leaves all of it or nothing.

    Args:
        directory: where they lie; the caller keeps other processes out of it.

    Example:

    >>> store = CheckpointStore(tempfile.mkdtemp())
    >>> for step in (10, 20, 30):
    ...     path = store.save(step, {"loss": 1.5, "weights": np.ones(2)})
    >>> store.steps(), store.load(30)
    ([30, 20], {'loss': 1.5, 'weights': array([1., 1.])})
    """

    def __init__(self, directory):
        self.directory = Path(directory)
        self._good = []

    def steps(self):
        """The steps of which there is a checkpoint, damaged or not, the newest first."""
        names = [path.name for path in self.directory.iterdir()] if self.directory.is_dir() else []
        return sorted((int(match[1]) for match in map(_NAME.fullmatch, names) if match), reverse=True)

    def path(self, step):
        return self.directory / f"checkpoint-{step:010}"

    def save(self, step, tree):
        """Writes a checkpoint and removes those before the last one that was good.

        Args:
            step: its number.
            tree: of dictionaries, lists, strings, finite numbers and NumPy arrays.

        Returns:
            The path of its directory.

        Raises:
            OSError: it cannot be written; the ones before are still there.
            ValueError: a number is not finite.
        """
        arrays, content = io.BytesIO(), {"step": step, "tree": tree}
        state = json.dumps(content, default=lambda array: _stored(array, arrays), allow_nan=False)
        files = {STATE: state.encode(), ARRAYS: arrays.getvalue()}
        replace_directory(self.path(step), {**files, MANIFEST: _manifest(files)})
        self._good = [*self._good[1 - KEPT :], step]
        for other in self.steps():
            if other not in self._good:
                remove_directory(self.path(other))
        return self.path(step)

    def load(self, step):
        """The tree of a checkpoint.

        Raises:
            DamagedError: a byte of it is not what was written; the line names the file.
        """
        directory = self.path(step)
        state = _verified_files(directory)
        arrays = io.BytesIO(state[ARRAYS])
        content = json.loads(state[STATE], object_hook=lambda entry: _loaded(entry, arrays))
        if content["step"] != step:
            raise DamagedError(f"{directory} is that of step {content['step']}")
        self._good = [step]
        return content["tree"]

    def load_newest(self):
        """The newest checkpoint that can be read.

        Returns:
            Its step and its tree, both None if there is no checkpoint at all; and what is wrong with newer ones, a list
            of lines.

        Raises:
            CheckpointError: there are some, all of them damaged.
        """
        damages = []
        for step in self.steps():
            try:
                return step, self.load(step), damages
            except DamagedError as damage:
                damages.append(str(damage))
        if damages:
            raise CheckpointError(
                f"no checkpoint can be read: {'; '.join(damages)}. To begin anew, remove {self.directory}."
            )
        return None, None, []


def _stored(array, file):
    """What stands for an array in JSON: the arrays are in a file one after another."""
    array = np.asarray(array)
    if array.dtype.kind in "OSU":
        raise ValueError(f"{array!r:.60} is no array of numbers")
    if not np.isfinite(array).all():
        raise ValueError(f"{array} is not finite")
    np.save(file, array, allow_pickle=False)
    # NumPy's format knows nothing of bfloat16.
    return {ARRAY: array.dtype.name}


def _loaded(entry, file):
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
        # Anything else might never end.
        if not path.is_file():
            raise DamagedError(f"{path} is no file")
        try:
            files[name] = path.read_bytes()
        except OSError as error:
            raise DamagedError(f"{path} cannot be read ({error.strerror})") from error
    written, found = files[MANIFEST].splitlines(keepends=True), _manifest(files).splitlines(keepends=True)
    if written != found:
        wrong = [name for name, line in zip((ARRAYS, STATE), found, strict=True) if line not in written]
        if wrong:
            raise DamagedError(f"{directory / ' and '.join(wrong)}: not what {MANIFEST} says")
        raise DamagedError(f"{directory / MANIFEST} is not what was written")
    return files
