"""SearchTuner: it runs the trials of a search. It builds a model, trains it, and writes the files of the trial."""

import contextlib
import math
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from tfcharlm.tuning.fault_tolerance.connection import Connection
from tfcharlm.tuning.fault_tolerance.heartbeat import TrialLease
from tfcharlm.tuning.fault_tolerance.oracle import FaultTolerantOracle
from tfcharlm.tuning.fault_tolerance.trial_files import SaveBestWeights, TrialFiles, finished_curves
from tfcharlm.tuning.fault_tolerance.workers import is_supervised

# TensorFlow never frees some graphs, among them those with a tf.custom_gradient: about 30 MB per trial.
TRIALS_PER_PROCESS = 10


class SearchTuner(keras_tuner.Tuner):
    """A `keras_tuner.Tuner` for fault-tolerant oracles.

    A trial leaves `best.weights.h5` and `learning_curve.csv` in `trial_<id>/`, and its curves and hyperparameters in
    `tensorboard/<id>/`. Each file is complete or missing. A trial that is run again replaces them.

    Args:
        oracle: a `FaultTolerantOracle`.
        hypermodel: a `keras_tuner.HyperModel`. `build(hp)` returns a built model. `fit(hp, model, callbacks=...)`
            returns a `History` or a dictionary with `val_loss`, or the loss as a number. For Hyperband, `fit` also gets
            `epochs` and `initial_epoch`. If the hypermodel has an attribute `curves`, it is set before each trial to
            the `val_loss` values of every finished trial. A worker that calls none of the callbacks for
            `stall_seconds` of the oracle loses the trial.
        directory: directory of the search.
        explore: whether to call `build` to find the hyperparameters. A resumed search knows them.
        on_trial_over: called without arguments after each trial.
        connection: in a worker, its `Connection` to the chief; None (default) if this process has the oracle.
    """

    oracle: Any  # the oracle itself, or a worker's `Connection` to it

    def __init__(
        self,
        oracle: FaultTolerantOracle,
        hypermodel: keras_tuner.HyperModel,
        directory: Path | str,
        explore: bool = True,
        on_trial_over: Callable[[], Any] = lambda: None,
        connection: Connection | None = None,
    ) -> None:
        directory = Path(directory).absolute()
        # If this file exists, Keras Tuner believes that it was reloaded and does not look for hyperparameters.
        Path(directory, f"{os.environ.get('KERASTUNER_TUNER_ID', 'tuner0')}.json").unlink(missing_ok=True)
        super().__init__(
            oracle=oracle,
            hypermodel=hypermodel if explore else None,
            directory=str(directory.parent),
            project_name=directory.name,
        )
        self.hypermodel, self.on_trial_over, self._trials = hypermodel, on_trial_over, 0
        self.is_worker = connection is not None
        # In a worker, Keras Tuner has put a client of its own here. It is never used.
        self.oracle = connection or oracle

    def pre_create_trial(self) -> None:
        """Ends a worker that has run many trials, if `Workers` will start it again."""
        if self._trials >= TRIALS_PER_PROCESS and is_supervised():
            sys.exit()

    def run_trial(self, trial: Trial) -> keras.callbacks.History | dict[str, float]:
        """Trains the model of a trial, writes its files, and returns its `History`."""
        self._trials += 1
        try:
            return self._train(trial)
        except Exception:
            # Keras Tuner would print the whole traceback; `on_trial_end` writes it to a file instead.
            trial.message = traceback.format_exc()
            return {self.oracle.objective.name: math.inf}

    def _train(self, trial):
        files = TrialFiles(self.project_dir, trial.trial_id)
        files.clear()
        keras.utils.clear_session()  # it also collects garbage
        if hasattr(self.hypermodel, "curves"):
            self.hypermodel.curves = finished_curves(self.project_dir)
        values = trial.hyperparameters.values
        first = values.get("tuner/initial_epoch", 0)
        with self._alive(trial.trial_id) as lease:
            model = self.hypermodel.build(trial.hyperparameters)
            saver = SaveBestWeights(files.weights, lost=lease.lost)
            arguments: dict[str, Any] = {"callbacks": [saver, lease]}
            if "tuner/epochs" in values:
                arguments |= {"epochs": values["tuner/epochs"], "initial_epoch": first}
            if values.get("tuner/trial_id"):
                load_weights(model, TrialFiles(self.project_dir, values["tuner/trial_id"]).weights)
            result = self.hypermodel.fit(trial.hyperparameters, model, **arguments)
            if lease.lost.is_set():
                # The chief would ignore this result.
                return {self.oracle.objective.name: math.inf}
            history = as_history(result)
            if not saver.saved:
                saver.set_model(model)
                saver.on_epoch_end(0)
            files.write_events(values, history.history, first)
            files.write_curve(history.history, first)
        return history

    def on_trial_end(self, trial: Trial) -> None:
        if trial.message:
            trial.status = TrialStatus.INVALID
            with contextlib.suppress(OSError):  # on a full disk, the chief still hears of it
                TrialFiles(self.project_dir, trial.trial_id).write_error(trial.message)
        super().on_trial_end(trial)
        self.on_trial_over()

    def load_model(self, trial: Trial) -> keras.Model:
        """Builds the model of a trial and loads its best weights.

        Raises:
            ValueError: the file of the weights is missing or damaged.
        """
        model = self.hypermodel.build(trial.hyperparameters)
        path = TrialFiles(self.project_dir, trial.trial_id).weights
        try:
            load_weights(model, path)
        except (AttributeError, LookupError, OSError, TypeError, ValueError) as error:
            reason = "missing" if isinstance(error, FileNotFoundError) else "damaged"
            raise ValueError(f"the weights of trial {trial.trial_id} in {path} are {reason}.") from error
        return model

    def save(self) -> None:
        """Saves the oracle's state; the tuner has none of its own."""
        if not self.is_worker:
            self.oracle.save()

    def _alive(self, trial_id):
        return self.oracle.alive(trial_id) if self.is_worker else contextlib.nullcontext(TrialLease())


def load_weights(model: keras.Model, path: Path | str) -> None:
    """Loads what `SaveBestWeights` saved into a model whose optimizer has no variables yet."""
    with warnings.catch_warnings():
        # Keras warns that it skips the optimizer's state, because the optimizer has no variables yet.
        warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
        model.load_weights(path)


def as_history(result: Any, objective: str = "val_loss") -> keras.callbacks.History:
    """Makes a `History` of floats from what `fit` returned. A loss that is not finite becomes infinite.

    Raises:
        ValueError: the result has no `val_loss`.

    Example:

    >>> import numpy as np
    >>> from tfcharlm.tuning.fault_tolerance.tuner import as_history
    >>> as_history({"val_loss": np.float32(1.5), "words": 3}).history
    {'val_loss': [1.5], 'words': [3.0]}
    >>> as_history(float("nan")).history
    {'val_loss': [inf]}
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
