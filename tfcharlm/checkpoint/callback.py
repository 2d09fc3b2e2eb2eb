"""The Keras callback that saves a run, and with which `fit` resumes it."""

import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfcharlm.atomic_files import lock
from tfcharlm.checkpoint.progress import FitProgress, check_tree
from tfcharlm.checkpoint.protocol import ResumableModel
from tfcharlm.checkpoint.state import check_same, run_fingerprint
from tfcharlm.checkpoint.store import CheckpointError, CheckpointStore
from tfcharlm.checks import POSITIVE

# A kill costs half a minute of work at most; a save takes less than a hundredth of that.
SECONDS = 30
LOGGER = logging.getLogger(__name__)

# These change weights or epochs without the run knowing.
NOT_BESIDE = keras.callbacks.BackupAndRestore, keras.callbacks.SwapEMAWeights


class Checkpoint(keras.callbacks.Callback):
    """Saves a training run from time to time, and resumes it where it stopped.

    Give it to `CharLM.fit`. If its directory is empty, the run starts. If not, the run resumes, and with the same seed
    it ends with the same weights, bit for bit, as a run that was never interrupted. So a script can simply be started
    again, whatever happened to it. A run that had already ended is trained further only if `epochs` is higher than
    before, and no callback had stopped it.

    What is saved: the weights, the optimizer with its learning rate, the position in the data, the recurrent state of
    every row, the counters of dropout, the metrics, the history, and the state of other callbacks. A callback has a
    state if it has methods `get_state()`, which returns JSON and NumPy arrays, and `set_state(state)`. Keras's
    `EarlyStopping`, `ReduceLROnPlateau` and `ModelCheckpoint` are saved without them. Other callbacks start again
    with what they count, such as TensorBoard, or `ModelCheckpoint` with a number of batches. `CSVLogger` needs
    `append=True`.

    The data must be a `tf.data.Dataset` whose batches are a function of their number. A data set of this package starts
    at any batch at once, and its content is compared. Another data set must have a known length; it is read up to the
    position where the run stopped, and its content is not compared.

    Args:
        directory: a directory for this run alone. The last two checkpoints stay in it; with several workers, each has a
            subdirectory `worker-0`, `worker-1`, ...
        seconds: time between two saves. 30 by default: a kill costs half a minute of work at most, and saving takes
            less than a hundredth of the time.
        steps: batches between two saves, instead of `seconds`.
        settings: what else must be the same when the run resumes, a dictionary of numbers and strings; None (default)
            for nothing.
        notify: called with one line when a run resumes, a damaged checkpoint is skipped, or a save fails. `print` by
            default.

    Raises:
        ValueError: both `seconds` and `steps` are given, or one of them is not above 0.

    `fit` raises a `CheckpointError`, which is a ValueError, if all checkpoints are damaged, if another process uses the
    directory, or if the saved run had another corpus, vocabulary, architecture, optimizer or settings.

    Example:

    >>> import tempfile
    >>> import numpy as np
    >>> import tfcharlm
    >>> directory = tempfile.mkdtemp()
    >>> data = tfcharlm.text.stream_dataset(np.arange(99) % 5, batch_size=2, sequence_length=4)
    >>> model = tfcharlm.CharLM(tfcharlm.text.Vocabulary("abcde"), [tfcharlm.LSTMCell(3)])
    >>> model.compile()
    >>> checkpoint = tfcharlm.Checkpoint(directory)
    >>> len(model.fit(data, epochs=1, verbose=0, callbacks=[checkpoint]).epoch)
    1
    >>> # The same in another process, with more epochs:
    >>> lines = []
    >>> checkpoint = tfcharlm.Checkpoint(directory, notify=lines.append)
    >>> len(model.fit(data, epochs=3, verbose=0, callbacks=[checkpoint]).epoch)
    3
    >>> lines[0].split(": ")[-1]
    'the run resumes after step 12.'
    """

    def __init__(
        self,
        directory: Path | str,
        seconds: float | None = None,
        steps: int | None = None,
        settings: Mapping[str, object] | None = None,
        notify: Callable[[str], object] = print,
    ) -> None:
        super().__init__()
        if seconds is not None and steps is not None:
            raise ValueError(f"give seconds or steps between saves, not both; received {seconds=} and {steps=}.")
        self.seconds, self.interval = SECONDS if seconds is None and steps is None else seconds, steps
        for name, value in (("seconds", self.seconds), ("steps", steps)):
            if value is not None:
                POSITIVE.check(name, value)
        self.directory, self.settings, self.notify = Path(directory), settings, notify
        self._run: Any = None

    def run_fit(
        self,
        model: ResumableModel,
        fit: Callable[..., object],
        data: tf.data.Dataset,
        options: Mapping[str, Any],
    ) -> keras.callbacks.History:
        """Runs a whole `fit`; `CharLM.fit` calls it if this callback is among its callbacks.

        Args:
            model: the model to train.
            fit: the method of `keras.Model`, which is called with named arguments.
            data: a `tf.data.Dataset`.
            options: the other arguments of `fit`, by name.

        Returns:
            The `keras.callbacks.History` of the whole run.
        """
        others = [callback for callback in options["callbacks"] if callback is not self]
        for other in others:
            if isinstance(other, (Checkpoint, *NOT_BESIDE)):
                raise ValueError(
                    f"callbacks must not hold {type(other).__name__} beside Checkpoint, which cannot resume what "
                    f"{type(other).__name__} does; leave one of them out."
                )
        run = FitProgress(model, data, {**options, "callbacks": others})
        # Every worker saves the states of its rows, on its own disk or on one that all of them share.
        self._replicas = model.run_state.replicas
        worker = self._replicas.worker
        self.store = CheckpointStore(self.directory if worker is None else self.directory / f"worker-{worker}")
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(lock(self.store.directory, "another run"))
            except (ValueError, OSError) as error:
                raise CheckpointError(str(error)) from error
            self._start(run, {**run_fingerprint(model.run_state, data, self.settings), **run.shape})
            while run.left():
                fit(callbacks=[self], **run.next_call())
            if run.progress != self._saved:
                self._save()
        return run.history()

    def _start(self, run, fingerprint):
        self._run, self._fingerprint, self._saved = run, fingerprint, None
        for callback in run.callbacks:
            callback.set_model(run.model)
        step, tree = self._newest()
        if tree is not None:
            check_tree(tree, self.store.path(step))
            check_same(tree["run_fingerprint"], fingerprint)
            run.restore(tree)
            self._saved = dict(run.progress)
            done = "resumes after" if run.left() else "had ended at"
            self.notify(f"{self.store.directory}: the run {done} step {step:,}.")
        self._saved_at = self._replicas.clock()

    def _newest(self):
        """The step and the tree of the newest checkpoint that all workers have; None and None if there is none."""
        step, tree, damages = self.store.load_newest()
        for damage in damages:
            self.notify(f"{damage}; this checkpoint is skipped.")
        steps = self._replicas.all_gather(-1 if step is None else step)
        if min(steps) < 0 <= max(steps):
            raise CheckpointError(
                "all workers must have a checkpoint to resume from; received checkpoints of the steps "
                f"{', '.join('none' if s < 0 else str(s) for s in steps)}. "
                f"To start again, remove {self.directory} everywhere."
            )
        # A worker that was killed during a save has one checkpoint less than the others.
        return (step, tree) if step in (None, min(steps)) else (min(steps), self.store.load(min(steps)))

    # The rest of a run may take several calls of Keras's `fit`. To the other callbacks they look like one.

    def _tell(self, hook: str, *arguments: Any) -> None:
        for callback in self._run.callbacks:
            getattr(callback, hook)(*arguments)

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params)
        if self._run is not None:
            self._tell("set_params", {**params, **self._run.params})

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        if self._run is None or self._run.model is not self.model:
            raise ValueError(
                f"the model must be a CharLM, in a call of its fit; received a {type(self.model).__name__}. "
                "For other models, use keras.callbacks.BackupAndRestore."
            )
        if self._run.calls == 1:
            self._tell("on_train_begin", logs)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._run.begin_epoch(epoch)
        self._save_if_due()
        self._tell("on_epoch_begin", epoch, logs)
        self._run.undo_epoch_begin()

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        # Here all callbacks are done with one batch and none has started the next one. Anywhere else, a resumed run
        # would have some of them do their work twice.
        if self._run.progress["batch"]:
            self._save_if_due()
        self._tell("on_train_batch_begin", self._run.offset + batch, logs)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._run.end_batch(batch)
        self._tell("on_train_batch_end", self._run.offset + batch, logs)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._tell("on_epoch_end", epoch, logs)
        self._run.end_epoch(epoch, logs)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self._run.end_call()
        if not self._run.left():
            self._tell("on_train_end", logs)

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        self._tell("on_test_begin", logs)

    def on_test_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._tell("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._tell("on_test_batch_end", batch, logs)

    def on_test_end(self, logs: Mapping[str, Any] | None = None) -> None:
        self._tell("on_test_end", logs)

    def _save_if_due(self):
        progress = self._run.progress
        if self.interval is None:
            due = self._replicas.clock() - self._saved_at >= self.seconds
        else:
            due = progress["step"] - (self._saved or {"step": 0})["step"] >= self.interval
        if due and progress != self._saved:
            self._save()

    def _save(self):
        run = self._run
        step = run.progress["step"]
        try:
            self.store.save(step, {"run_fingerprint": self._fingerprint, **run.tree()})
            LOGGER.info("the checkpoint of step %d is written", step)
        except (OSError, ValueError) as error:
            self.notify(f"The checkpoint of step {step:,} is not written ({error}); the run continues without it.")
        self._saved, self._saved_at = dict(run.progress), self._replicas.clock()
