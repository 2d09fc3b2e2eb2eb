"""RunDirectory: what an earlier run of the same name left, which is checkpoints or a note that the run is finished."""

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from tfcharlm.atomic_files import clear, lock, replace_file
from tfcharlm.checkpoint import CheckpointStore, check_same


class RunDirectory:
    """The directory `checkpoints` beside the versions of a model. Use it in a `with` statement around the run.

    Args:
        directory: directory of the model.
        settings: a dictionary of what must be the same when a run is resumed.
    """

    def __init__(self, directory: Path, settings: Mapping[str, Any]) -> None:
        self.directory, self.settings = directory / "checkpoints", settings
        self._finished = self.directory / "finished"
        self._new = [path for path in (directory, directory.parent) if not path.exists()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Removes the directories that it made, if there is nothing in them to resume."""
        if self.steps() or self._finished.exists():
            return
        # They stay if they belong to another process that has not saved anything yet.
        with contextlib.suppress(ValueError, OSError):
            with lock(self.directory, "another run"):
                clear(self.directory)
            for directory in self._new:
                directory.rmdir()

    def open(self, resume: bool) -> str | None:
        """Prepares the directory for a new run, or for one to resume.

        Returns:
            The path of the model if the run to resume is finished, else None.

        Raises:
            ValueError: `resume` is False, but there is a run to resume; or the finished run had other settings.
        """
        if self._finished.is_file():
            if resume:
                return self._finished_model()
            clear(self.directory)
        if self.steps() and not resume:
            raise ValueError(
                f"{self.directory} has an unfinished run, saved at step {self.steps()[0]:,}; type --resume to continue "
                "it, give another --name, or remove that directory."
            )
        return None

    def settings_of_checkpoint(self, names: Iterable[str]) -> dict[str, Any] | None:
        """The settings with these names in the newest checkpoint; None if there is no checkpoint."""
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
                f"the run is finished, but its model {finished['model']} is missing; to train again, omit --resume."
            )
        return finished["model"]

    def steps(self) -> list[int]:
        """The steps at which the run, or any of its workers, was saved; the newest first."""
        directories = [self.directory, *self.directory.glob("worker-*")]
        return sorted({step for path in directories for step in CheckpointStore(path).steps()}, reverse=True)

    def finish(self, model: Path) -> None:
        """Records the path of the model, and removes the checkpoints."""
        text = json.dumps({"model": str(model), "settings": self.settings})
        self.directory.mkdir(exist_ok=True)
        replace_file(self._finished, lambda path: path.write_text(text, encoding="utf-8"))
        for path in self.directory.iterdir():
            if path.is_dir():
                clear(path)
