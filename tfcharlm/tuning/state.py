"""The file in which a search lives: replaced in one step, and the generation before it kept."""

import json
import os
from pathlib import Path


class StateFile:
    """A JSON object on the disk that a kill at any moment cannot tear.

    A new generation is written beside the old one, brought to the disk, and renamed. The old one stays as
    `<name>.previous`, for damage that comes from elsewhere.

    Args:
        path: where the newest generation is.

    Example:

    >>> file = StateFile(os.path.join(tempfile.mkdtemp(), "state.json"))
    >>> file.save({"trials": 1})
    >>> file.save({"trials": 2})
    >>> [(name, state) for name, state in file.generations()]
    [('state.json', {'trials': 2}), ('state.json.previous', {'trials': 1})]
    """

    def __init__(self, path):
        self.path = Path(path)
        self.previous = self.path.with_name(self.path.name + ".previous")
        self._last = None

    def exists(self):
        """Whether there is a generation, readable or not."""
        return self.path.exists() or self.previous.exists()

    def save(self, state):
        """Makes `state` the newest generation."""
        text = json.dumps(state)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # From memory: what has become of the file since must not take the place of a generation that can be read.
        if self._last is not None:
            replace_file(self.previous, lambda path: path.write_text(self._last, encoding="utf-8"))
        replace_file(self.path, lambda path: path.write_text(text, encoding="utf-8"))
        self._last = text

    def generations(self):
        """What can be read, the newest first, as pairs of a file's name and its object."""
        for path in (self.path, self.previous):
            state = read_json(path)
            if state is not None:
                self._last = json.dumps(state)
                yield path.name, state


def replace_file(path, write):
    """Lets `write` make a file, and puts it in the place of `path` when it is on the disk: there is never half a file.

    Args:
        path: the file to replace.
        write: called with the path to write to, which ends like `path`.
    """
    partial = path.with_name(f"partial-{os.getpid()}-{path.name}")
    try:
        write(partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_json(path):
    """The JSON object in a file; None if the file is missing, torn or holds something else."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def lock(directory):
    """Keeps every other process out of a directory, until this one ends or closes what is returned.

    What a process that was killed has left half written is removed.

    Raises:
        ValueError: another process has it.
    """
    Path(directory).mkdir(parents=True, exist_ok=True)
    file = Path(directory, "lock").open("w")  # noqa: SIM115, the caller closes it
    try:
        import fcntl  # Windows has none; there nobody keeps two searches from one directory

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise ValueError(f"a search is running in {directory}; wait for its end, or stop it first.") from error
    except (ImportError, OSError):
        pass  # some network file systems have no locks
    for partial in Path(directory).glob("partial-*"):
        partial.unlink()
    return file
