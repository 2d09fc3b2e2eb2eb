"""The file in which a search lives: replaced in one step, and the generation before it kept."""

import json
from pathlib import Path

from tfcharlm.atomic_files import replace_file


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


def read_json(path):
    """The JSON object in a file; None if the file is missing, torn or holds something else."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
