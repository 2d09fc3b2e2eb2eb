"""The files of a trial: best weights, learning curve, error, and what TensorBoard shows."""

import csv
import itertools
import math
import shutil
import threading
from pathlib import Path

import keras
import tensorflow as tf

from tfcharlm.artefact import LEARNING_CURVE
from tfcharlm.atomic_files import replace_file


class TrialFiles:
    """Where a trial's files are, and how they are written: complete or not at all.

    Args:
        directory: of the search.
        trial_id: of the trial.
    """

    def __init__(self, directory, trial_id):
        self.trial_id = trial_id
        self.directory = Path(directory, f"trial_{trial_id}")
        self.weights = self.directory / "best.weights.h5"
        self.curve = self.directory / LEARNING_CURVE
        self.events = Path(directory, "tensorboard", trial_id)
        self._error = self.directory / "error.txt"

    def clear(self):
        """Removes what an earlier run of the trial has left."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for path in (self.weights, self.curve, self._error, *self.directory.glob("partial-*")):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.events, ignore_errors=True)

    def write_error(self, message):
        """For the chief: Keras Tuner's messages between processes leave a trial's message out."""
        replace_file(self._error, lambda path: path.write_text(message, encoding="utf-8"))

    def error(self):
        try:
            return self._error.read_text(encoding="utf-8")
        except (OSError, ValueError):
            return None

    def write_curve(self, history, first):
        """A row for every value of `{metric: values}`; the first row is of epoch `first`."""

        def write(path):
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(["epoch", *history])
                rows = itertools.zip_longest(*history.values(), fillvalue="")
                writer.writerows([epoch, *row] for epoch, row in enumerate(rows, first))

        replace_file(self.curve, write)

    def write_events(self, hyperparameters, history, first):
        """The hyperparameters and the curves, for `tensorboard --logdir <search>/tensorboard`."""
        from tensorboard.plugins.hparams import api  # takes a moment, and only workers need it

        writer = tf.summary.create_file_writer(str(self.events))
        with writer.as_default():
            api.hparams(hyperparameters, trial_id=self.trial_id)
            for name, values in history.items():
                for epoch, value in enumerate(values, first):
                    tf.summary.scalar(name, value, step=epoch)
        writer.close()


class SaveBestWeights(keras.callbacks.Callback):
    """Keeps the weights of the best report so far on the disk, complete at every moment.

    Args:
        path: ends in `.weights.h5`.
        metric: of the logs of `on_epoch_end`; the smallest is best. A report without it counts as the best.
        lost: an event; once it is set the trial is another worker's, and so is the file.
    """

    def __init__(self, path, metric="val_loss", lost=None):
        super().__init__()
        self.path, self.metric, self.best, self.saved = Path(path), metric, math.inf, False
        self.lost = threading.Event() if lost is None else lost

    def on_epoch_end(self, epoch, logs=None):
        if self.lost.is_set():
            return
        value = (logs or {}).get(self.metric, -math.inf)
        if value < self.best or not self.saved:
            self.best, self.saved = value, True
            replace_file(self.path, lambda path: self.model.save_weights(path))


def finished_curves(directory, metric="val_loss"):
    """The values of a metric, report by report, of every trial that has been finished; lists of floats."""
    curves = []
    for path in sorted(Path(directory).glob(f"trial_*/{LEARNING_CURVE}")):
        try:
            with path.open(newline="", encoding="utf-8") as file:
                curves.append([float(row[metric]) for row in csv.DictReader(file)])
        except (OSError, KeyError, ValueError):
            continue  # a trial that is run again has just removed its curve
    return curves
