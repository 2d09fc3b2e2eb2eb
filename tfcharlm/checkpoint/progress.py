"""A run in progress: where it is, and the calls of Keras's `fit` that make the rest of it."""

import keras
import tensorflow as tf

from tfcharlm.checkpoint.state import assign, callback_names, callback_states, restore_callbacks, values_of


class FitProgress:
    """What is left of a `fit`, and what is done.

    `progress` has the numbers: `step`, batches since the run began; `epoch` and `batch`, batches of this epoch that are
    done; `dataset_position`, batches since the data set was begun, which differs from `batch` if `steps_per_epoch` cuts epochs out
    of it; `stopped`, whether a callback has ended the run.

    Args:
        model: to train.
        data: a `tf.data.Dataset`.
        options: arguments of `fit`, by name.

    Raises:
        ValueError: the batches are no function of their number.
    """

    def __init__(self, model, data, options):
        self.model, self._data, self._options = model, data, dict(options)
        self._length = _length(data)
        self.callbacks = self._options.pop("callbacks")
        self.epochs, self._steps = self._options.pop("epochs", 1), self._options.pop("steps_per_epoch", None)
        first = self._options.pop("initial_epoch", 0)
        self.progress = {"step": 0, "epoch": first, "batch": 0, "dataset_position": 0, "stopped": False}
        self.calls, self._until = 0, None
        self._logs, self.offset, self._tree, self._final_values = [], 0, None, None
        if not model.optimizer.built:
            with model.run_state.replicas.scope():
                model.optimizer.build(model.trainable_variables)

    @property
    def shape(self):
        """What else must be the same when the run goes on."""
        return {
            "batches": self._length,
            "steps_per_epoch": self._steps,
            "callbacks": callback_names(self.callbacks),
        }

    @property
    def params(self):
        """What Keras tells callbacks of a whole `fit`."""
        return {"epochs": self.epochs, "steps": self._steps or self._length}

    def tree(self):
        """All of it, for a checkpoint."""
        return {
            "progress": dict(self.progress),
            "logs": self._logs,
            "callbacks": callback_states(self.callbacks),
            "variables": values_of(self.model.run_state),
        }

    def restore(self, tree):
        """Goes back to where a `tree` was made."""
        self.progress, self._logs, self._tree = dict(tree["progress"]), list(tree["logs"]), tree
        if list(map(len, tree["variables"].values())) != list(map(len, values_of(self.model.run_state).values())):
            self.model.build_metrics(next(iter(self._data)))
        assign(self.model.run_state, tree["variables"])
        restore_callbacks(self.callbacks, tree["callbacks"])

    def left(self):
        """Whether there is an epoch to train, or the rest of one."""
        return not self.progress["stopped"] and self.progress["epoch"] < self.epochs

    def next_call(self):
        """The arguments of the next call of `fit`: all that is left, if it begins where the data set does."""
        epoch, batch, dataset_position = (self.progress[name] for name in ("epoch", "batch", "dataset_position"))
        self.offset, self.calls, self._until = batch, self.calls + 1, epoch + 1 if dataset_position else self.epochs
        return {
            **self._options,
            "x": _starting_at(self._data, dataset_position) if dataset_position else self._data,
            "initial_epoch": epoch,
            "epochs": self._until,
            "steps_per_epoch": self._steps and self._steps - batch,
        }

    def begin_epoch(self, epoch):
        self.progress["epoch"] = epoch
        if self._tree is not None:
            # Keras's callbacks forget what they have seen when `fit` begins, and others change something then.
            assign(self.model.run_state, self._tree["variables"], exclude=["metrics"])
            restore_callbacks(self.callbacks, self._tree["callbacks"])

    def undo_epoch_begin(self):
        """Undoes what the beginning of an epoch has done that had begun before."""
        if self._tree is not None and self.progress["batch"]:
            assign(self.model.run_state, self._tree["variables"])
            restore_callbacks(self.callbacks, self._tree["callbacks"])
        self._tree = None

    def end_batch(self, batch):
        done = self.offset + batch + 1 - self.progress["batch"]
        for name in ("step", "batch", "dataset_position"):
            self.progress[name] += done

    def end_epoch(self, epoch, logs):
        # As text, which has every bit and what is no number, too.
        self._logs.append(
            [epoch, {name: repr(float(value)) for name, value in (logs or {}).items() if _is_number(value)}]
        )
        self.offset = 0
        self.progress.update(epoch=epoch + 1, batch=0)
        # Keras begins a data set again in every epoch, or when it is used up.
        if self._steps is None or (self._length is not None and self.progress["dataset_position"] >= self._length):
            self.progress["dataset_position"] = 0
        if epoch + 1 == self._until and self.left():
            self._final_values = values_of(self.model.run_state)

    def end_call(self):
        self.progress["stopped"] = bool(self.model.stop_training)
        if self.left():
            # An optimizer with averages has put them in the place of the weights, as if this were the end.
            assign(self.model.run_state, self._final_values, exclude=["metrics"])

    def history(self):
        """The `keras.callbacks.History` of all epochs."""
        history = keras.callbacks.History()
        history.set_model(self.model)
        history.epoch = [epoch for epoch, _ in self._logs]
        for _, logs in self._logs:
            for name, value in logs.items():
                history.history.setdefault(name, []).append(float(value))
        self.model.history = history
        return history


def _is_number(value):
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _length(data):
    """The batches of a data set, None if it never ends."""
    if not isinstance(data, tf.data.Dataset):
        raise ValueError(
            "to go on in the middle of an epoch batches must be a function of their number; give a tf.data.Dataset "
            f"such as tfcharlm.text.stream_dataset(...); received {type(data).__name__}."
        )
    length = int(data.cardinality())
    if length == tf.data.UNKNOWN_CARDINALITY:
        raise ValueError(
            "the data set must know its length; received one that does not. "
            "Type data.apply(tf.data.experimental.assert_cardinality(batches))."
        )
    return None if length == tf.data.INFINITE_CARDINALITY else length


def _starting_at(data, dataset_position):
    source = getattr(data, "source", None)
    return data.skip(dataset_position) if source is None else source.starting_at(dataset_position)
