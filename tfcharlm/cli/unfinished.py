"""What an earlier run of the same name has left: checkpoints to go on from, or the word that it is finished."""

import contextlib

from tfcharlm.checkpoint import CheckpointStore
from tfcharlm.disk import clear, replace_file


class Unfinished:
    """The directory `checkpoints` beside the versions of a model; for a `with` around the run.

    Args:
        directory: of the model.
    """

    def __init__(self, directory):
        self.directory = directory / "checkpoints"
        self._finished = self.directory / "finished"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        """Leaves nothing behind that nobody can go on with."""
        if not self.steps() and not self._finished.exists():
            clear(self.directory)
            for directory in (self.directory.parent, self.directory.parent.parent):
                with contextlib.suppress(OSError):
                    directory.rmdir()

    def open(self, resume):
        """Prepares the directory for a run that begins, or goes on if `resume`.

        Returns:
            If there is nothing left to do, where the model is; else None.

        Raises:
            ValueError: there is a run to go on with, and nobody said so.
        """
        if self._finished.is_file():
            if resume:
                return self._finished.read_text(encoding="utf-8", errors="surrogateescape")
            clear(self.directory)
        if self.steps() and not resume:
            raise ValueError(
                f"{self.directory} has a run that was not finished, saved at step {self.steps()[0]:,}; type --resume "
                "to go on with it, give another --name, or remove that directory."
            )
        return None

    def steps(self):
        """The steps at which the run was saved, the newest first; of several workers, those of each."""
        directories = [self.directory, *self.directory.glob("worker-*")]
        return sorted({step for path in directories for step in CheckpointStore(path).steps()}, reverse=True)

    def finish(self, model):
        """Keeps where the model is, and no checkpoints."""
        text = str(model)
        self.directory.mkdir(exist_ok=True)
        replace_file(self._finished, lambda path: path.write_text(text, encoding="utf-8", errors="surrogateescape"))
        for path in self.directory.iterdir():
            if path.is_dir():
                clear(path)
