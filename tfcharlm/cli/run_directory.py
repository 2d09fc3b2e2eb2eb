"""What an earlier run of the same name left: checkpoints to resume from, or a note that it is finished."""

import contextlib
import json
from pathlib import Path

from tfcharlm.atomic_files import clear, lock, replace_file
from tfcharlm.checkpoint import CheckpointStore, check_same


class RunDirectory:
    """The directory `checkpoints` beside the versions of a model; for a `with` around the run.

    Args:
        directory: of the model.
        settings: what must be the same when a run goes on, a dictionary.
    """

    def __init__(self, directory, settings):
        self.directory, self.settings = directory / "checkpoints", settings
        self._finished = self.directory / "finished"
        self._new = [path for path in (directory, directory.parent) if not path.exists()]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        """Leaves nothing behind that nobody can go on with."""
        if self.steps() or self._finished.exists():
            return
        # Unless it belongs to another process, which has not saved anything yet.
        with contextlib.suppress(ValueError, OSError):
            with lock(self.directory, "another run"):
                clear(self.directory)
            for directory in self._new:
                directory.rmdir()

    def open(self, resume):
        """Prepares the directory for a run that begins, or goes on if `resume`.

        Returns:
            If there is nothing left to do, where the model is; else None.

        Raises:
            ValueError: there is a run to go on with, and nobody said so; or one that is finished, and was another one.
        """
        if self._finished.is_file():
            if resume:
                return self._finished_model()
            clear(self.directory)
        if self.steps() and not resume:
            raise ValueError(
                f"{self.directory} has a run that was not finished, saved at step {self.steps()[0]:,}; type --resume "
                "to go on with it, give another --name, or remove that directory."
            )
        return None

    def settings_of_checkpoint(self, names):
        """The settings of these names of the run that is resumed; None if there is no checkpoint."""
        for directory in [self.directory, *sorted(self.directory.glob("worker-*"))]:
            _, tree, _ = CheckpointStore(directory).load_newest()
            if tree is not None:
                return {name: tree["run_fingerprint"]["settings"][name] for name in names}
        return None

    def _finished_model(self):
        finished = json.loads(self._finished.read_text(encoding="utf-8"))
        check_same({"settings": finished["settings"]}, {"settings": self.settings})
        if not Path(finished["model"]).exists():
            raise ValueError(
                f"the run is finished, and its model {finished['model']} is gone; without --resume it begins."
            )
        return finished["model"]

    def steps(self):
        """The steps at which the run was saved, the newest first; of several workers, those of each."""
        directories = [self.directory, *self.directory.glob("worker-*")]
        return sorted({step for path in directories for step in CheckpointStore(path).steps()}, reverse=True)

    def finish(self, model):
        """Keeps where the model is, and no checkpoints."""
        text = json.dumps({"model": str(model), "settings": self.settings})
        self.directory.mkdir(exist_ok=True)
        replace_file(self._finished, lambda path: path.write_text(text, encoding="utf-8"))
        for path in self.directory.iterdir():
            if path.is_dir():
                clear(path)
