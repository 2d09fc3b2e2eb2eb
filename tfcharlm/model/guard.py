"""The Keras callback that tells of steps that were skipped because a number was not finite, and ends a run of them."""

import contextlib
import warnings

import keras

from tfcharlm.checks import POSITIVE_INTEGER


class NonFiniteError(ArithmeticError):
    """A training cannot go on: a number of its last step is not finite. Nothing of that step was kept.

    Example:

    >>> issubclass(NonFiniteError, ArithmeticError)
    True
    """


class Guard(keras.callbacks.Callback):
    """Says which steps of a training were skipped because a number was not finite, and ends it when they repeat.

    A `CharLM` skips a step if its loss, a gradient, a weight, a variable of the optimizer or a state to be carried on
    is NaN or infinite. Then nothing of the step is kept: no weight, no variable of the optimizer, no carried state and
    no metric changes. This callback says so; `CharLM.fit` adds a `Guard()` if it is given none. An optimizer that
    scales the loss (mixed_float16) skips steps with gradients that are too large itself, and nobody is told.

    Args:
        action: "skip", the default, goes on with the next batch, for a single nonfinite_flags one does no harm; "stop" ends the
            training.
        limit: after how many skipped steps in a row the training ends; ten, because one that has diverged stays so.
        on_skip: called with a line for each step that is skipped; a warning by default. With `steps_per_execution` it
            is told of the last one of so many steps.

    Raises:
        ValueError: another action, or a limit below 1.

    `fit` raises a `NonFiniteError` that names step and tensor; the weights are those of the last good step.

    Example:

    >>> model = CharLM(Vocabulary("abc"), [RNNCell(5)])
    >>> model.compile()
    >>> batch = {"tokens": np.array([[0, 2]])}, np.array([[2, 1]]), np.array([[1.0, np.nan]])
    >>> lines = []
    >>> _ = model.fit(tf.data.Dataset.from_tensors(batch), verbose=0, callbacks=[Guard(on_skip=lines.append)])
    >>> lines
    ['step 1 skipped: the loss is not finite (loss nan)']
    """

    def __init__(self, action="skip", limit=10, on_skip=warnings.warn):
        super().__init__()
        if action not in ("skip", "stop"):
            raise ValueError(f'action must be "skip" or "stop"; received {action!r}.')
        self.action, self.limit, self.on_skip = action, POSITIVE_INTEGER.check("limit", limit), on_skip
        self._steps, self._in_a_row, self._skipped = 0, 0, 0

    def get_state(self):
        """What a run that is resumed gives to `set_state`: its steps, and how many at the end were skipped."""
        return {"steps": self._steps, "in_a_row": self._in_a_row}

    def set_state(self, state):
        """Counts on from there."""
        self._steps, self._in_a_row = state["steps"], state["in_a_row"]
        if self.model is not None:
            self.on_train_begin()

    def on_train_begin(self, logs=None):
        self._skipped = 0
        self.model.nonfinite_monitor.start(self._steps, self._in_a_row)

    def on_train_batch_end(self, batch, logs=None):
        notes = self.model.nonfinite_monitor.read()
        self._steps, self._in_a_row = notes.steps, notes.in_a_row
        before, self._skipped = self._skipped, notes.skipped
        if notes.skipped == before:
            return
        what = f"{notes.found} is not finite (loss {notes.loss:.4g})"
        if self.action == "stop" or notes.in_a_row >= self.limit:
            self._in_a_row = 0
            row = f", the last of {notes.in_a_row} in a row" if notes.in_a_row > 1 else ""
            raise NonFiniteError(f"step {notes.number:,}{row}: {what}. {_advice(notes.found)}")
        if self.model.replicas.is_chief:
            self.on_skip(f"step {notes.number:,} skipped: {what}")


def _advice(found):
    if found.startswith(("the weight", "the optimizer's")):
        return "No step of this training wrote that; load weights that were saved."
    return (
        "Give a lower learning_rate; if that does not help, look for NaN in the weights of the data and in penalties."
    )


def with_guard(callbacks):
    """The callbacks of a training in whatever form Keras takes them, as a list with a `Guard` in it."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks.callbacks
    given = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks] if callbacks else []
    return given if any(isinstance(callback, Guard) for callback in given) else [Guard(), *given]


@contextlib.contextmanager
def unless_updated(model):
    """For a `with` around `fit`: if every step was skipped, the weights stay, averages or not.

    An optimizer with `use_ema` puts its averages in their place at the end, and these begin with zeros.
    """
    optimizer = model.optimizer
    averages = getattr(getattr(optimizer, "inner_optimizer", optimizer), "use_ema", False)
    weights = model.get_weights() if averages and not optimizer.iterations.numpy() else None
    try:
        yield
    finally:
        if weights is not None and not optimizer.iterations.numpy():
            model.set_weights(weights)
