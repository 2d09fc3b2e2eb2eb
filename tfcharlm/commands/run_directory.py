"""RunDirectory: what an earlier run of the same name left, which is checkpoints or a note that the run is finished."""

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from tfcharlm.atomic_files import clear, lock, replace_file
from tfcharlm.bookkeeping import DamagedFileError, read_object
from tfcharlm.checkpoint import CheckpointStore, check_same

# The fewest bytes of a corpus whose ids are kept for the next run.
LARGE = 1 << 26


class RunDirectory:
    """The directory `checkpoints` beside the versions of a model. Use it in a `with` statement around the run.

    The file `finished` in it says where the model of a finished run is, from that directory. So the directory of the
    model may be moved, copied, and used from any working directory.

    Args:
        directory: directory of the model.
        settings: a dictionary of what must be the same when a run is resumed; or a function that returns it, which is
            called when it is needed, because it may read a large corpus.
    """

    def __init__(self, directory: Path, settings: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> None:
        self.directory, self._settings = directory / "checkpoints", settings
        self._corpus = directory / "corpus"
        self._finished = self.directory / "finished"
        self._new = [path for path in (directory, directory.parent) if not path.exists()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Removes the directories that it made, if there is nothing in them to resume."""
        self.discard()

    @property
    def settings(self) -> Mapping[str, Any]:
        """What must be the same when a run is resumed."""
        return self._settings() if callable(self._settings) else self._settings

    @contextlib.contextmanager
    def discarded_on_error(self) -> Iterator[None]:
        """A block before the run. If it fails, nothing is left behind, except the ids of a large corpus."""
        try:
            yield
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Removes the directories that it made, if there is nothing in them to resume."""
        if self.steps() or self._finished.exists():
            return
        # They stay if they belong to another process that has not saved anything yet.
        with contextlib.suppress(ValueError, OSError):
            with lock(self.directory, "another run"):
                clear(self.directory)
                self._clear_small_corpus()
            for directory in self._new:
                directory.rmdir()

    def open(self, resume: bool) -> str | None:
        """Prepares the directory for a new run, or for one to resume.

        Returns:
            The path of the model if the run to resume is finished, else None.

        Raises:
            ValueError: `resume` is False, but there is a run to resume; or the finished run had other settings, or its
                record is damaged; or another run has the directory.
        """
        finished = os.path.lexists(self._finished)
        if finished and resume:
            return self._finished_model()
        if not os.path.lexists(self.directory):
            return None
        if not self.directory.is_dir():
            raise ValueError(f"{self.directory} must be a directory; remove what is there, or give another --name.")
        with lock(self.directory, "another run"):
            if finished:
                for path in self.directory.iterdir():
                    if path.name != "lock":
                        clear(path)
            elif self.steps() and not resume:
                raise ValueError(
                    f"{self.directory} has an unfinished run, saved at step {self.steps()[0]:,}; type --resume to "
                    "continue it, give another --name, or remove that directory."
                )
        return None

    def settings_of_checkpoint(self, names: Iterable[str]) -> dict[str, Any] | None:
        """The settings with these names in the newest checkpoint; None if there is no checkpoint."""
        for directory in [self.directory, *sorted(self.directory.glob("worker-*"))]:
            _, tree, _ = CheckpointStore(directory).load_newest()
            if tree is not None:
                try:
                    return {name: tree["run_fingerprint"]["settings"][name] for name in names}
                except (KeyError, TypeError):
                    raise ValueError(
                        f"the checkpoints in {directory} must have the settings of their run; received none. "
                        f"To start again, remove {self.directory}."
                    ) from None
        return None

    def _finished_model(self):
        again = f"To train again, omit --resume, which removes {self.directory}."
        try:
            finished = read_object(self._finished)
        except FileNotFoundError:
            raise ValueError(f"{self._finished} must be a file; received a link to nothing. {again}") from None
        except DamagedFileError as error:
            raise ValueError(f"{error} {again}") from None
        model, settings = finished.get("model"), finished.get("settings")
        if not isinstance(model, str) or not isinstance(settings, dict):
            raise ValueError(f"{self._finished} must name a model and settings; received {_shape(finished)}. {again}")
        try:
            check_same({"settings": settings}, {"settings": self.settings})
        finally:
            self._clear_small_corpus()
        # Not resolved: `checkpoints` may be a link to another disk. The model is beside the link.
        path = Path(os.path.normpath(self.directory / model))
        if not path.is_dir():
            # Before this path was relative to the record, it was relative to a working directory.
            path = self.directory.parent / Path(model).name
        if not path.is_dir():
            raise ValueError(f"the run is finished, but its model {path!s:.200} is missing. {again}")
        return str(path)

    def steps(self) -> list[int]:
        """The steps at which the run, or any of its workers, was saved; the newest first."""
        directories = [self.directory, *self.directory.glob("worker-*")]
        return sorted({step for path in directories for step in CheckpointStore(path).steps()}, reverse=True)

    def finish(self, model: Path) -> None:
        """Records where the model is, and removes the checkpoints."""
        text = json.dumps({"model": os.path.relpath(model, self.directory), "settings": self.settings})
        self.directory.mkdir(exist_ok=True)
        replace_file(self._finished, lambda path: path.write_text(text, encoding="utf-8"))
        for path in self.directory.iterdir():
            if path.is_dir():
                clear(path)
        self._clear_small_corpus()

    def _clear_small_corpus(self):
        """Removes the ids of a corpus that is read again in seconds. Those of a large one serve the next run."""
        if sum(path.stat().st_size for path in self._corpus.rglob("*") if path.is_file()) < LARGE:
            with contextlib.suppress(OSError):
                clear(self._corpus)


def _shape(record: Mapping[str, Any]) -> str:
    """What a record has, without its values, which may be long."""
    found = [f"{name} ({type(record[name]).__name__})" for name in ("model", "settings") if name in record]
    return " and ".join(found) or "neither"
