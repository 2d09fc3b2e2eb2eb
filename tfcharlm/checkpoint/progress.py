"""How far a run is, and the calls of Keras's `fit` that finish it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfcharlm.checkpoint.protocol import ResumableModel
from tfcharlm.checkpoint.state import assign, callback_names, callback_states, restore_callbacks, values_of
from tfcharlm.checkpoint.store import CheckpointError


class FitProgress:
    """What is done of a `fit`, and what is left.

    `progress` is a dictionary:

    - `step`: batches since the run started;
    - `epoch`: the number of this epoch;
    - `batch`: batches done in this epoch;
    - `dataset_position`: batches since the start of the data set. It differs from `batch` if `steps_per_epoch` cuts the
      data set into several epochs;
    - `stopped`: whether a callback has ended the run.

    Args:
        model: the model to train.
        data: a `tf.data.Dataset`.
        options: the other arguments of `fit`, by name.

    Raises:
        ValueError: the data is not a data set of known length.
    """

    def __init__(self, model: ResumableModel, data: tf.data.Dataset, options: Mapping[str, Any]) -> None:
        self.model, self._data, self._options = model, data, dict(options)
        self._length = _length(data)
        self.callbacks = self._options.pop("callbacks")
        self.epochs, self._steps = self._options.pop("epochs", 1), self._options.pop("steps_per_epoch", None)
        first = self._options.pop("initial_epoch", 0)
        self.progress = {"step": 0, "epoch": first, "batch": 0, "dataset_position": 0, "stopped": False}
        self.calls, self.offset, self._until = 0, 0, 0
        self._logs: list[list] = []
        self._tree: Any = None
        self._final_values: Any = None
        if not model.optimizer.built:
            with model.run_state.replicas.scope():
                model.optimizer.build(model.trainable_variables)

    @property
    def shape(self) -> dict[str, Any]:
        """What else must be the same when the run resumes."""
        return {
            "batches": self._length,
            "steps_per_epoch": self._steps,
            "callbacks": callback_names(self.callbacks),
        }

    @property
    def params(self) -> dict[str, Any]:
        """What Keras tells callbacks about a whole `fit`."""
        return {"epochs": self.epochs, "steps": self._steps or self._length}

    def tree(self) -> dict[str, Any]:
        """Everything that a checkpoint needs."""
        return {
            "progress": dict(self.progress),
            "logs": self._logs,
            "callbacks": callback_states(self.callbacks),
            "variables": values_of(self.model.run_state),
        }

    def restore(self, tree: Mapping[str, Any]) -> None:
        """Restores the run as it was when `tree()` returned this."""
        self.progress, self._logs, self._tree = dict(tree["progress"]), list(tree["logs"]), tree
        if list(map(len, tree["variables"].values())) != list(map(len, values_of(self.model.run_state).values())):
            self.model.build_metrics(next(iter(self._data)))
        assign(self.model.run_state, tree["variables"])
        restore_callbacks(self.callbacks, tree["callbacks"])

    def left(self) -> bool:
        """Whether an epoch, or the rest of one, is left to train."""
        return not self.progress["stopped"] and self.progress["epoch"] < self.epochs

    def next_call(self) -> dict[str, Any]:
        """The arguments of the next call of `fit`.

        It trains all that is left if it starts at the start of the data set; otherwise the rest of this epoch only.
        """
        epoch, batch, dataset_position = (self.progress[name] for name in ("epoch", "batch", "dataset_position"))
        self.offset, self.calls, self._until = batch, self.calls + 1, epoch + 1 if dataset_position else self.epochs
        return {
            **self._options,
            "x": _starting_at(self._data, dataset_position) if dataset_position else self._data,
            "initial_epoch": epoch,
            "epochs": self._until,
            "steps_per_epoch": self._steps and self._steps - batch,
        }

    def begin_epoch(self, epoch: int) -> None:
        """Notes that an epoch starts; in the first one of a resumed run, restores what Keras has reset."""
        self.progress["epoch"] = epoch
        if self._tree is not None:
            # Keras's callbacks forget what they have seen when `fit` starts, and other callbacks change variables then.
            assign(self.model.run_state, self._tree["variables"], exclude=["metrics"])
            restore_callbacks(self.callbacks, self._tree["callbacks"])

    def undo_epoch_begin(self) -> None:
        """Undoes what `on_epoch_begin` of callbacks did, if a resumed run is in the middle of this epoch."""
        if self._tree is not None and self.progress["batch"]:
            assign(self.model.run_state, self._tree["variables"])
            restore_callbacks(self.callbacks, self._tree["callbacks"])
        self._tree = None

    def end_batch(self, batch: int) -> None:
        """Notes that a batch of the current call of `fit` is done."""
        done = self.offset + batch + 1 - self.progress["batch"]
        for name in ("step", "batch", "dataset_position"):
            self.progress[name] += done

    def end_epoch(self, epoch: int, logs: Mapping[str, Any] | None) -> None:
        """Notes that an epoch is done, with its logs."""
        # As text, which keeps every bit, and also NaN and infinity.
        self._logs.append(
            [epoch, {name: repr(float(value)) for name, value in (logs or {}).items() if _is_number(value)}]
        )
        self.offset = 0
        self.progress.update(epoch=epoch + 1, batch=0)
        # Keras restarts a data set in every epoch; with `steps_per_epoch`, when it is used up.
        if self._steps is None or (self._length is not None and self.progress["dataset_position"] >= self._length):
            self.progress["dataset_position"] = 0
        if epoch + 1 == self._until and self.left():
            self._final_values = values_of(self.model.run_state)

    def end_call(self) -> None:
        """Notes that a call of `fit` has ended."""
        self.progress["stopped"] = bool(self.model.stop_training)
        if self.left():
            # An optimizer with averaged weights has replaced the weights by them, as if the run had ended.
            assign(self.model.run_state, self._final_values, exclude=["metrics"])

    def history(self) -> keras.callbacks.History:
        """The `keras.callbacks.History` of all epochs."""
        history = keras.callbacks.History()
        history.set_model(self.model)
        history.epoch = [epoch for epoch, _ in self._logs]
        for _, logs in self._logs:
            for name, value in logs.items():
                history.history.setdefault(name, []).append(float(value))
        self.model.history = history
        return history


def check_tree(tree: Any, path: Path) -> None:
    """A CheckpointError if a tree, read from the checkpoint at `path`, is not what `FitProgress.tree` makes."""
    kinds = {"run_fingerprint": dict, "progress": dict, "logs": list, "callbacks": list, "variables": dict}
    is_tree = isinstance(tree, dict) and all(isinstance(tree.get(name), kind) for name, kind in kinds.items())
    numbers = ("step", "epoch", "batch", "dataset_position")
    if (
        not is_tree
        or not isinstance(tree["run_fingerprint"].get("settings"), dict)
        or not all(isinstance(tree["progress"].get(name), int) for name in numbers)
        or not all(isinstance(arrays, list) for arrays in tree["variables"].values())
    ):
        raise CheckpointError(f"{path} must be the checkpoint of a `fit`; received another one. Remove it.")


def _is_number(value):
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _length(data):
    """The number of batches of a data set; None if it never ends."""
    if not isinstance(data, tf.data.Dataset):
        raise ValueError(
            "x must be a tf.data.Dataset, such as tfcharlm.text.stream_dataset(...), to resume in the middle of an "
            f"epoch; received {type(data).__name__}."
        )
    length = int(data.cardinality())
    if length == tf.data.UNKNOWN_CARDINALITY:
        raise ValueError(
            "x must be a data set of known length; received one of unknown length. "
            "Type data.apply(tf.data.experimental.assert_cardinality(batches))."
        )
    return None if length == tf.data.INFINITE_CARDINALITY else length


def _starting_at(data, dataset_position):
    source = getattr(data, "source", None)
    return data.skip(dataset_position) if source is None else source.starting_at(dataset_position)
