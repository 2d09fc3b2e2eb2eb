"""The Keras callback that saves a run and lets `fit` go on with it."""

import contextlib
from pathlib import Path

import keras

from tfcharlm.atomic_files import lock
from tfcharlm.checkpoint.progress import FitProgress
from tfcharlm.checkpoint.state import check_same, run_fingerprint
from tfcharlm.checkpoint.store import CheckpointError, CheckpointStore
from tfcharlm.checks import POSITIVE

# Half a minute's work is the most that a kill costs; a save takes less than a hundredth of that.
SECONDS = 30

# These move weights or epochs behind the back of a run.
NOT_BESIDE = keras.callbacks.BackupAndRestore, keras.callbacks.SwapEMAWeights


class Checkpoint(keras.callbacks.Callback):
    """Saves everything that a run needs to go on, and goes on with what is there.

    Give it to `CharLM.fit`. If its directory is empty, the run begins and is saved from time to time; if not, the run
    goes on, and with the same seed it ends with the same weights, bit for bit, as if it had never stopped. So the same
    script can be started again whatever happened to it. A run that had ended is trained further only if no callback had
    stopped it and `epochs` is higher than it was.

    Kept are the weights, the optimizer with its learning rate, the position in the data, the rows' states, the counters
    of dropout, metrics, the history, and of the other callbacks what `get_state()` returns (of JSON and NumPy arrays)
    and `set_state(state)` takes. Keras's `EarlyStopping`, `ReduceLROnPlateau` and `ModelCheckpoint` need no such
    methods; what other callbacks count, such as TensorBoard, or `ModelCheckpoint` with a number of batches, begins
    anew, and `CSVLogger` needs `append=True`.

    Batches must be a function of their number: a data set of this package, which begins at any of them at once; or
    another `tf.data.Dataset` of known length, which is read up to there, and whose content is not compared.

    Args:
        directory: of this run alone. The last two checkpoints stay in it, of several workers in `worker-0` and so on.
        seconds: time between saves, or None; 30 by default.
        steps: batches between saves, or None.
        settings: what else must be the same when the run goes on, a dictionary of numbers and strings.
        notify: called with a line when a run goes on, a damaged checkpoint is left out, or a save fails.

    Raises:
        ValueError: neither or both of seconds and steps.

    `fit` raises a `CheckpointError`, a ValueError, if all checkpoints are damaged or the run in the directory had
    another corpus, vocabulary, architecture, optimizer or settings; and a ValueError if another process is using it.

    Example:

    >>> directory, data = tempfile.mkdtemp(), stream_dataset(np.arange(99) % 5, batch_size=2, sequence_length=4)
    >>> model = CharLM(Vocabulary("abcde"), [LSTMCell(3)])
    >>> model.compile()
    >>> for epochs in (1, 3):
    ...     history = model.fit(data, epochs=epochs, verbose=0, callbacks=[Checkpoint(directory)]).history
    ...     len(history["loss"])                                                # doctest: +ELLIPSIS
    1
    .../...: the run goes on after step 12.
    3
    """

    def __init__(self, directory, seconds=None, steps=None, settings=None, notify=print):
        super().__init__()
        if seconds is not None and steps is not None:
            raise ValueError(f"give seconds or steps between saves, not both; received {seconds=} and {steps=}.")
        self.seconds, self.interval = SECONDS if seconds is None and steps is None else seconds, steps
        for name, value in (("seconds", self.seconds), ("steps", steps)):
            if value is not None:
                POSITIVE.check(name, value)
        self.directory, self.settings, self.notify, self._run = Path(directory), settings, notify, None

    def run_fit(self, model, fit, data, options):
        """What `CharLM.fit` does with this callback among its own.

        Args:
            model: to train.
            fit: that of `keras.Model`, to be called with named arguments.
            data: a `tf.data.Dataset`.
            options: the other arguments of `fit`, by name.

        Returns:
            The `keras.callbacks.History` of the whole run.
        """
        others = [callback for callback in options["callbacks"] if callback is not self]
        for other in others:
            if isinstance(other, (Checkpoint, *NOT_BESIDE)):
                raise ValueError(
                    f"Checkpoint cannot go on with what {type(other).__name__} does; leave one of them out."
                )
        run = FitProgress(model, data, {**options, "callbacks": others})
        # Every worker saves what its rows carry, on a disk of its own or on one that all of them share.
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
            check_same(tree["run_fingerprint"], fingerprint)
            run.restore(tree)
            self._saved = dict(run.progress)
            done = "goes on after" if run.left() else "had ended at"
            self.notify(f"{self.store.directory}: the run {done} step {step:,}.")
        self._saved_at = self._replicas.clock()

    def _newest(self):
        """The newest checkpoint that all workers have, and its step; None and None if none has any."""
        step, tree, damages = self.store.load_newest()
        for damage in damages:
            self.notify(f"{damage}; it is left out.")
        steps = self._replicas.all_gather(-1 if step is None else step)
        if min(steps) < 0 <= max(steps):
            raise CheckpointError(
                f"the workers have checkpoints of the steps {', '.join('none' if s < 0 else str(s) for s in steps)}; "
                f"to go on all of them need one. To begin anew, remove {self.directory} everywhere."
            )
        # A worker that was killed in a save has one less than the others.
        return (step, tree) if step in (None, min(steps)) else (min(steps), self.store.load(min(steps)))

    # What is left of a run may take several calls of Keras's `fit`. The other callbacks are told of one.

    def _tell(self, hook, *arguments):
        for callback in self._run.callbacks:
            getattr(callback, hook)(*arguments)

    def set_params(self, params):
        super().set_params(params)
        if self._run is not None:
            self._tell("set_params", {**params, **self._run.params})

    def on_train_begin(self, logs=None):
        if self._run is None or self._run.model is not self.model:
            raise ValueError(
                f"Checkpoint goes on with what CharLM.fit does; received a {type(self.model).__name__}. "
                "For other models there is keras.callbacks.BackupAndRestore."
            )
        if self._run.calls == 1:
            self._tell("on_train_begin", logs)

    def on_epoch_begin(self, epoch, logs=None):
        self._run.begin_epoch(epoch)
        self._save_if_due()
        self._tell("on_epoch_begin", epoch, logs)
        self._run.undo_epoch_begin()

    def on_train_batch_begin(self, batch, logs=None):
        # Between what callbacks do after a batch and before the next one; in its middle they would do that twice.
        if self._run.progress["batch"]:
            self._save_if_due()
        self._tell("on_train_batch_begin", self._run.offset + batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        self._run.end_batch(batch)
        self._tell("on_train_batch_end", self._run.offset + batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        self._tell("on_epoch_end", epoch, logs)
        self._run.end_epoch(epoch, logs)

    def on_train_end(self, logs=None):
        self._run.end_call()
        if not self._run.left():
            self._tell("on_train_end", logs)

    def on_test_begin(self, logs=None):
        self._tell("on_test_begin", logs)

    def on_test_batch_begin(self, batch, logs=None):
        self._tell("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch, logs=None):
        self._tell("on_test_batch_end", batch, logs)

    def on_test_end(self, logs=None):
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
        except (OSError, ValueError) as error:
            self.notify(f"The checkpoint of step {step:,} is not written ({error}); the run goes on without.")
        self._saved, self._saved_at = dict(run.progress), self._replicas.clock()
