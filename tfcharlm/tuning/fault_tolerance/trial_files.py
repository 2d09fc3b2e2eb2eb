"""The files of a trial: best weights, learning curve, error message, and the events for TensorBoard."""

import csv
import itertools
import math
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfcharlm.artefact import LEARNING_CURVE
from tfcharlm.atomic_files import replace_file
from tfcharlm.bookkeeping import read_file

# What HDF5 writes about an array beside its values, generously.
BYTES_PER_ARRAY = 8192


class TrialFiles:
    """The paths of a trial's files, and the methods that write them: a file is complete or missing.

    Args:
        directory: directory of the search.
        trial_id: id of the trial.

    Example:

    >>> import tempfile
    >>> from tfcharlm.tuning import TrialFiles
    >>> files = TrialFiles(tempfile.mkdtemp(), "07")
    >>> files.clear()
    >>> files.write_curve({"val_loss": [2.5, 2.25]}, first=0)
    >>> files.curve.read_text().split()
    ['epoch,val_loss', '0,2.5', '1,2.25']
    """

    def __init__(self, directory: Path | str, trial_id: str) -> None:
        self.trial_id = trial_id
        self.directory = Path(directory, f"trial_{trial_id}")
        self.weights = self.directory / "best.weights.h5"
        self.curve = self.directory / LEARNING_CURVE
        self.events = Path(directory, "tensorboard", trial_id)
        self._error = self.directory / "error.txt"

    def clear(self) -> None:
        """Removes the files of an earlier run of the trial, and makes its directory."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for path in (self.weights, self.curve, self._error, *self.directory.glob("partial-*")):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.events, ignore_errors=True)

    def write_error(self, message: str) -> None:
        """Writes the message for the chief, because Keras Tuner does not send it between processes."""
        replace_file(self._error, lambda path: path.write_text(message, encoding="utf-8"))

    def error(self) -> str | None:
        """The message that `write_error` wrote; None if there is none."""
        try:
            return read_file(self._error).decode("utf-8")
        except (OSError, ValueError):
            return None

    def write_curve(self, history: Mapping[str, Sequence[float]], first: int) -> None:
        """Writes `{metric: values}` as a CSV file with one row per epoch, from epoch `first` on."""

        def write(path):
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(["epoch", *history])
                rows = itertools.zip_longest(*history.values(), fillvalue="")
                writer.writerows([epoch, *row] for epoch, row in enumerate(rows, first))

        replace_file(self.curve, write)

    def write_events(
        self, hyperparameters: Mapping[str, Any], history: Mapping[str, Sequence[float]], first: int
    ) -> None:
        """Writes the hyperparameters and the curves for `tensorboard --logdir <search>/tensorboard`."""
        from tensorboard.plugins.hparams import api  # takes a moment, and only workers need it

        writer = tf.summary.create_file_writer(str(self.events))
        with writer.as_default():
            api.hparams(hyperparameters, trial_id=self.trial_id)
            for name, values in history.items():
                for epoch, value in enumerate(values, first):
                    tf.summary.scalar(name, value, step=epoch)
        writer.close()


class SaveBestWeights(keras.callbacks.Callback):
    """Saves the weights of the best evaluation so far. The file is complete at every moment.

    Args:
        path: path of the file; it ends in `.weights.h5`.
        metric: the entry of the logs of `on_epoch_end` to compare; the smallest is best. An evaluation without it
            counts as the best.
        lost: an event that is set when the trial, and with it the file, belongs to another worker; None for never.
    """

    def __init__(self, path: Path | str, metric: str = "val_loss", lost: threading.Event | None = None) -> None:
        super().__init__()
        self.path, self.metric, self.best, self.saved = Path(path), metric, math.inf, False
        self.lost = threading.Event() if lost is None else lost

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if self.lost.is_set():
            return
        value = (logs or {}).get(self.metric, -math.inf)
        if value < self.best or not self.saved:
            self.best, self.saved = value, True
            replace_file(self.path, self._save)

    def _save(self, path):
        # A full disk must be noticed before: HDF5 ends the process with a segmentation fault after a failed write.
        optimizer = getattr(self.model, "optimizer", None)
        variables = [*self.model.variables, *(optimizer.variables if optimizer else ())]
        _reserve(path, sum(math.prod(v.shape) * 4 + BYTES_PER_ARRAY for v in variables))
        self.model.save_weights(path)


def _reserve(path, size):
    """Raises an OSError if a file of this size cannot be written."""
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.write(bytes(size))


def finished_curves(directory: Path | str, metric: str = "val_loss") -> list[list[float]]:
    """The values of a metric for every finished trial: one list for each, with one value per evaluation."""
    curves = []
    for path in sorted(Path(directory).glob(f"trial_*/{LEARNING_CURVE}")):
        try:
            lines = read_file(path).decode("utf-8").splitlines()
            curves.append([float(row[metric]) for row in csv.DictReader(lines)])
        except (OSError, KeyError, TypeError, ValueError, csv.Error):
            continue  # the trial is being run again, and its curve was just removed; or the curve is damaged
    return curves
