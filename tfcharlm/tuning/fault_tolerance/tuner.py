"""Runs the trials of a search: builds, trains, keeps what is worth keeping."""

import contextlib
import math
import os
import sys
import threading
import traceback
import warnings
from pathlib import Path

import keras
import keras_tuner
from keras_tuner.engine.trial import TrialStatus

from tfcharlm.tuning.fault_tolerance.connection import Connection
from tfcharlm.tuning.fault_tolerance.trial_files import SaveBestWeights, TrialFiles, finished_curves
from tfcharlm.tuning.fault_tolerance.workers import is_supervised

# TensorFlow keeps some graphs for ever, among them those in which a function has a gradient of its own
# (tf.custom_gradient): about 30 MB a trial.
TRIALS_PER_PROCESS = 10


class SearchTuner(keras_tuner.Tuner):
    """A `keras_tuner.Tuner` of durable oracles.

    Of a trial stay, in `trial_<id>/`: `best.weights.h5`, `learning_curve.csv`; and in `tensorboard/<id>/` its curves
    and hyperparameters. Each is complete or missing, and a trial that is run again replaces them.

    Args:
        oracle: a `FaultTolerantOracle`.
        hypermodel: a `keras_tuner.HyperModel`. `build(hp)` returns a built model; `fit(hp, model, callbacks=...)` a
            `History` with `val_loss`, or a dictionary, or the loss as a number. For Hyperband `fit` gets
            `epochs` and `initial_epoch` as well. If it has an attribute `curves`, that is set before each trial to the
            `val_loss` values of every finished one.
        directory: of the search.
        explore: whether `build` is called to find the hyperparameters; not for a search that goes on.
        on_trial_over: called without arguments after each trial.
    """

    def __init__(self, oracle, hypermodel, directory, explore=True, on_trial_over=lambda: None):
        directory = Path(directory).absolute()
        # If there is such a file, Keras Tuner takes itself for reloaded and looks for no hyperparameters.
        Path(directory, f"{os.environ.get('KERASTUNER_TUNER_ID', 'tuner0')}.json").unlink(missing_ok=True)
        super().__init__(
            oracle=oracle,
            hypermodel=hypermodel if explore else None,
            directory=str(directory.parent),
            project_name=directory.name,
        )
        self.hypermodel, self.on_trial_over, self._trials = hypermodel, on_trial_over, 0
        self.is_worker = self.oracle is not oracle
        if self.is_worker:
            self.oracle = Connection(self.oracle, self.tuner_id)

    def pre_create_trial(self):
        """Ends a worker that has run many trials, if somebody starts another in its place."""
        if self._trials >= TRIALS_PER_PROCESS and is_supervised():
            sys.exit()

    def run_trial(self, trial):
        """Trains the model of a trial, writes its files, and returns its `History`."""
        self._trials += 1
        try:
            return self._train(trial)
        except Exception:
            # Keras Tuner would print it all; `on_trial_end` keeps it in a file.
            trial.message = traceback.format_exc()
            return {self.oracle.objective.name: math.inf}

    def _train(self, trial):
        files = TrialFiles(self.project_dir, trial.trial_id)
        files.clear()
        keras.utils.clear_session()  # collects the garbage, too
        if hasattr(self.hypermodel, "curves"):
            self.hypermodel.curves = finished_curves(self.project_dir)
        values = trial.hyperparameters.values
        first = values.get("tuner/initial_epoch", 0)
        with self._alive(trial.trial_id) as lost:
            model = self.hypermodel.build(trial.hyperparameters)
            saver = SaveBestWeights(files.weights, lost=lost)
            arguments = {"callbacks": [saver, StopOnEvent(lost)]}
            if "tuner/epochs" in values:
                arguments |= {"epochs": values["tuner/epochs"], "initial_epoch": first}
            if values.get("tuner/trial_id"):
                load_weights(model, TrialFiles(self.project_dir, values["tuner/trial_id"]).weights)
            result = self.hypermodel.fit(trial.hyperparameters, model, **arguments)
            if lost.is_set():
                # The chief does not take this result.
                return {self.oracle.objective.name: math.inf}
            history = as_history(result)
            if not saver.saved:
                saver.set_model(model)
                saver.on_epoch_end(0)
            files.write_events(values, history.history, first)
            files.write_curve(history.history, first)
        return history

    def on_trial_end(self, trial):
        if trial.message:
            trial.status = TrialStatus.INVALID
            TrialFiles(self.project_dir, trial.trial_id).write_error(trial.message)
        super().on_trial_end(trial)
        self.on_trial_over()

    def load_model(self, trial):
        """The model of a trial with the best weights that it had."""
        model = self.hypermodel.build(trial.hyperparameters)
        load_weights(model, TrialFiles(self.project_dir, trial.trial_id).weights)
        return model

    def save(self):
        """The oracle's state is all there is; Keras Tuner's tuner has none."""
        if not self.is_worker:
            self.oracle.save()

    def _alive(self, trial_id):
        return self.oracle.alive(trial_id) if self.is_worker else contextlib.nullcontext(threading.Event())


def load_weights(model, path):
    """What `SaveBestWeights` saved, into a model whose optimizer has not begun."""
    with warnings.catch_warnings():
        # Keras says that it leaves the optimizer's state out, for which there is no place yet.
        warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
        model.load_weights(path)


class StopOnEvent(keras.callbacks.Callback):
    """Ends a training when an event is set."""

    def __init__(self, event):
        super().__init__()
        self.event = event

    def on_train_batch_end(self, batch, logs=None):
        if self.event.is_set():
            self.model.stop_training = True

    on_epoch_end = on_train_batch_end


def as_history(result, objective="val_loss"):
    """What `fit` returned as a `History` of floats, in which a loss that is no number is infinite.

    >>> as_history({"val_loss": np.float32(1.5), "words": 3}).history
    {'val_loss': [1.5], 'words': [3.0]}
    >>> as_history(float("nan")).history
    {'val_loss': [inf]}

    Raises:
        ValueError: there is no `val_loss`.
    """
    curves = getattr(result, "history", result)
    if not isinstance(curves, dict):
        curves = {objective: curves}
    history = keras.callbacks.History()
    try:
        history.history = {
            name: [float(value) for value in keras.tree.flatten(curve)] for name, curve in curves.items()
        }
        losses = history.history[objective]
        history.history[objective] = [loss if math.isfinite(loss) else math.inf for loss in losses]
        return history
    except (KeyError, TypeError) as error:
        expected = f"a History or a dictionary with {objective}, or a number"
        raise ValueError(f"fit must return {expected}; received {result!r}.") from error
